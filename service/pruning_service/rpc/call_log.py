"""What remains of a Prune call: its id, one line in the log, and its share of the metrics."""

import asyncio
import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from pruning_engine.recipe import Recipe
from pruning_proto.names import REQUEST_ID_KEY
from pruning_proto.reasons import TABLE, Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.auth.callers import caller
from pruning_service.calls.served_call import ServedCall
from pruning_service.observability import traces
from pruning_service.observability.metrics import Metrics

if TYPE_CHECKING:
    import grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_log = logging.getLogger(__name__)


def new_request_id() -> str:
    """Draw the id of a call."""
    return secrets.token_hex(8)


async def send_request_id(context: Context, request_id: str) -> None:
    """Send the id of a call: every reply begins with it, whatever comes of the call."""
    await context.send_initial_metadata(((REQUEST_ID_KEY, request_id),))


@contextmanager
def log_call(served: ServedCall, metrics: Metrics, peer: str) -> Iterator[None]:
    """Record a call, which runs inside."""
    call, requests, stream = served.call, served.requests, served.stream
    begin = time.perf_counter()
    outcome: str = Reason.INTERNAL
    try:
        with metrics.traffic.counted(requests, stream):
            yield
        outcome = "OK" if call.refusal is None else call.refusal.reason
    except (asyncio.CancelledError, GeneratorExit):
        outcome = call.refusal.reason if call.refusal is not None and call.is_cut_off else "CANCELLED"
        raise
    finally:
        if outcome in TABLE:
            metrics.refusals.labels(outcome).inc()
        if call.report is not None and call.request is not None:
            _count(metrics, call.report, call.request.recipe)
        totals = _totals(call.report)
        if (span := traces.current.get()) is not None:
            span.add(call.times.intervals, {"pruning.request_id": call.request_id, "pruning.outcome": outcome})
        _log.info(
            "prune request_id=%s peer=%s caller=%s outcome=%s seconds=%.3f received_bytes=%d sent_bytes=%d"
            + "".join(f" {name}=%s" for name in totals),
            *(call.request_id, peer, caller.get(), outcome, time.perf_counter() - begin),
            *(requests.received_bytes, stream.sent_bytes, *totals.values()),
        )


def log_capabilities(request_id: str, peer: str, outcome: str) -> None:
    """Record a GetCapabilities call, which has ended."""
    _log.info("capabilities request_id=%s peer=%s caller=%s outcome=%s", request_id, peer, caller.get(), outcome)


def _count(metrics: Metrics, report: pb.Report, recipe: Recipe) -> None:
    for stage, seconds in report.stage_seconds.items():
        metrics.stage_seconds.labels(stage).observe(seconds)
    totals = report.totals
    metrics.parameters.labels("pruned").inc(totals.pruned)
    metrics.parameters.labels("kept").inc(totals.entries - totals.pruned)
    last = recipe.rules[-1]
    metrics.sparsity.labels(last.scope.value, last.granularity.field).observe(totals.pruned / max(1, totals.entries))


def _totals(report: pb.Report | None) -> dict[str, str | int]:
    """Return what the log says of a finished call, by the key of each value."""
    if report is None:
        return {}
    totals = report.totals
    counts = {"tensors": totals.tensors, "entries": totals.entries, "pruned": totals.pruned}
    digests = {"input_sha256": report.input_sha256, "result_sha256": report.result_sha256}
    return {**counts, "device": report.device, **{name: digest for name, digest in digests.items() if digest}}
