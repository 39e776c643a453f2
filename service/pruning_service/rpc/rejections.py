"""Calls that are rejected before anything of them is parsed, and how their clients see why.

A Prune call is rejected in the stream and by its status, as every failure of one is: a client that is still writing
when its call ends mostly sees something else (grpc issue 36066). What it writes meanwhile is dropped as it comes, for
one call at a time: each message is memory while it comes, and a caller without a token may send many.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.auth.callers import caller
from pruning_service.deadlines import DISCARD_SECONDS, RESET_SECONDS
from pruning_service.observability.metrics import Metrics
from pruning_service.rpc.call_log import Context, new_request_id, send_request_id
from pruning_service.rpc.grpc_status import grpc_status
from pruning_service.rpc.received_messages import ReceivedMessages
from pruning_service.status import Refusal, failure
from pruning_service.streams.request_stream import RequestStream

DROPPING_CALLS: Final = 1
"""The most rejected calls whose messages are read and dropped; two messages of each are in memory, 8 MiB.

Beyond them a call ends at once. A client that reads before it writes everything, as ours, sees why all the same."""

_log = logging.getLogger(__name__)


class Rejector:
    """Ends calls that are rejected."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._dropping_calls = 0

    async def prune(self, refusal: Refusal, context: Context) -> AsyncGenerator[Any]:
        """Answer a Prune call with a refusal."""
        request_id = new_request_id()
        await send_request_id(context, request_id)
        self._record(refusal, request_id, "Prune", context)
        with _reset_after(RESET_SECONDS):
            yield pb.PruneResponse(failure=failure(refusal, request_id))
            await self._drop(context)
            await context.abort_with_status(grpc_status(refusal, request_id))

    async def abort(self, refusal: Refusal, method: str, context: Context) -> None:
        """Answer any other call with a refusal, which only its status can report."""
        request_id = new_request_id()
        await send_request_id(context, request_id)
        self._record(refusal, request_id, method, context)
        await context.abort_with_status(grpc_status(refusal, request_id))

    async def _drop(self, context: Context) -> None:
        """Read and drop what the client still writes, unless that is done for too many calls already."""
        if self._dropping_calls >= DROPPING_CALLS:
            return
        request_stream = RequestStream(ReceivedMessages(context), idle_seconds=0)
        self._dropping_calls += 1
        try:
            await request_stream.discard(DISCARD_SECONDS)
        finally:
            self._dropping_calls -= 1
            request_stream.close()

    def _record(self, refusal: Refusal, request_id: str, method: str, context: Context) -> None:
        self._metrics.refusals.labels(refusal.reason).inc()
        _log.info(
            "refused request_id=%s peer=%s caller=%s method=%s outcome=%s",
            *(request_id, context.peer(), caller.get(), method, refusal.reason),
        )


@contextmanager
def _reset_after(seconds: float) -> Iterator[None]:
    """Reset the stream of a client that does not even take the refusal: gRPC does when its handler is cancelled."""
    handler = asyncio.current_task()
    if handler is None:
        raise RuntimeError("a call has a task")
    resetting = asyncio.get_running_loop().call_later(seconds, handler.cancel)
    try:
        yield
    finally:
        resetting.cancel()
