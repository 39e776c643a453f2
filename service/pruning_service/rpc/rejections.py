"""Calls that are refused at the door: nothing of them is parsed, and their clients see why.

A Prune call is told in-band and by its status, as every failure of one is: a client that is still writing when its call
ends mostly sees something else (grpc issue 36066). What it writes meanwhile is dropped as it comes, from a few calls at
a time: each message is memory while it comes, and whoever has no token may send many.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.auth.callers import caller
from pruning_service.calls.prune_call import DISCARD_SECONDS
from pruning_service.observability.metrics import Metrics
from pruning_service.rpc.request_id import named
from pruning_service.status import Refusal, failure, grpc_status
from pruning_service.streams.request_stream import RequestStream

DROPPING_CALLS: Final = 16
"""The most refused calls whose messages are taken and dropped; gRPC holds up to four messages of each, 256 MiB in all.

Beyond them a call ends at once. A client that reads before it writes everything, as ours, sees why all the same."""

_log = logging.getLogger(__name__)


class Rejector:
    """Ends calls that are refused."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._dropping_calls = 0

    async def prune(self, refusal: Refusal, requests: AsyncIterator[Any], context: Any) -> AsyncGenerator[Any]:
        """Be a Prune call that is refused."""
        request_id = await named(context)
        self._record(refusal, request_id, "Prune", context)
        with _patience(2 * DISCARD_SECONDS):
            yield pb.PruneResponse(failure=failure(refusal, request_id))
            await self._drop(requests)
            await context.abort_with_status(grpc_status(refusal, request_id))

    async def abort(self, refusal: Refusal, method: str, context: Any) -> None:
        """Be any other call that is refused: it has no place to tell it but its status."""
        request_id = await named(context)
        self._record(refusal, request_id, method, context)
        await context.abort_with_status(grpc_status(refusal, request_id))

    async def _drop(self, requests: AsyncIterator[Any]) -> None:
        """Take what the client still writes, if not too many calls are taken from already."""
        if self._dropping_calls >= DROPPING_CALLS:
            return
        request_stream = RequestStream(requests, idle_seconds=0)
        self._dropping_calls += 1
        try:
            await request_stream.discard(DISCARD_SECONDS)
        finally:
            self._dropping_calls -= 1
            request_stream.close()

    def _record(self, refusal: Refusal, request_id: str, method: str, context: Any) -> None:
        self._metrics.refusals.labels(refusal.reason).inc()
        _log.info(
            "refused request_id=%s peer=%s caller=%s method=%s outcome=%s",
            *(request_id, context.peer(), caller.get(), method, refusal.reason),
        )


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Let go of a client that does not even take the refusal. What is left is a stream of gRPC's own."""
    handler = asyncio.current_task()
    if handler is None:
        raise RuntimeError("a call has a task")
    letting_go = asyncio.get_running_loop().call_later(seconds, handler.cancel)
    try:
        yield
    finally:
        letting_go.cancel()
