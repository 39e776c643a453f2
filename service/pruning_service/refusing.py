"""Calls that are refused at the door: nothing of them is parsed, and their clients see why.

A Prune call is told in-band and by its status, as every failure of one is: a client that is still writing when its call
ends mostly sees something else (grpc issue 36066). What it writes meanwhile is dropped as it comes.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.inbox import Inbox
from pruning_service.metrics import Metrics
from pruning_service.request_id import named
from pruning_service.status import Refusal, failure, grpc_status
from pruning_service.stream import DISCARD_SECONDS

_log = logging.getLogger(__name__)


async def refused(
    refusal: Refusal, requests: AsyncIterator[Any], context: Any, metrics: Metrics
) -> AsyncIterator[pb.PruneResponse]:
    """Be a Prune call that is refused."""
    request_id = await named(context)
    _record(refusal, request_id, "Prune", context, metrics)
    with _patience(2 * DISCARD_SECONDS):
        yield pb.PruneResponse(failure=failure(refusal, request_id))
        await Inbox(requests, idle_seconds=0).discard(DISCARD_SECONDS)
        await context.abort_with_status(grpc_status(refusal, request_id))


async def abort(refusal: Refusal, method: str, context: Any, metrics: Metrics) -> None:
    """Be any other call that is refused: it has no place to tell it but its status."""
    request_id = await named(context)
    _record(refusal, request_id, method, context, metrics)
    await context.abort_with_status(grpc_status(refusal, request_id))


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


def _record(refusal: Refusal, request_id: str, method: str, context: Any, metrics: Metrics) -> None:
    metrics.refusals.labels(refusal.reason).inc()
    _log.info("refused request_id=%s peer=%s method=%s outcome=%s", request_id, context.peer(), method, refusal.reason)
