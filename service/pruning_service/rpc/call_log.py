"""What remains of a Prune call: one line in the log, and its share of the metrics."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pruning_engine.recipe import Recipe
from pruning_proto.reasons import TABLE, Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.auth.callers import caller
from pruning_service.calls.prune_call import PruneCall, Resources
from pruning_service.observability.metrics import Metrics
from pruning_service.status import Refusal

_log = logging.getLogger(__name__)


@contextmanager
def log_call(call: PruneCall, resources: Resources, peer: str) -> Iterator[None]:
    """Record `call`, which lives inside."""
    metrics = resources.metrics
    begin = time.perf_counter()
    outcome = Reason.INTERNAL.value
    metrics.in_flight.inc()
    try:
        with metrics.traffic.counted(call.request_stream, call.response_stream):
            yield
        outcome = "OK"
    except Refusal as refusal:
        outcome = refusal.reason
        raise
    except (asyncio.CancelledError, GeneratorExit):
        outcome = "CANCELLED" if call.aborted is None else call.aborted.reason
        raise
    finally:
        metrics.in_flight.dec()
        if outcome in TABLE:
            metrics.refusals.labels(outcome).inc()
        if call.report is not None and call.recipe is not None:
            _count(metrics, call.report, call.recipe)
        _log.info(
            "prune request_id=%s peer=%s caller=%s outcome=%s seconds=%.3f received_bytes=%d sent_bytes=%d%s",
            *(call.request_id, peer, caller.get(), outcome, time.perf_counter() - begin),
            *(call.request_stream.received_bytes, call.response_stream.sent_bytes, _totals(call.report)),
        )


def _count(metrics: Metrics, report: pb.Report, recipe: Recipe) -> None:
    for stage, seconds in report.stage_seconds.items():
        metrics.stage_seconds.labels(stage).observe(seconds)
    totals = report.totals
    metrics.parameters.labels("pruned").inc(totals.pruned)
    metrics.parameters.labels("kept").inc(totals.entries - totals.pruned)
    last = recipe.rules[-1]
    metrics.sparsity.labels(last.scope.value, last.granularity.field).observe(totals.pruned / max(1, totals.entries))


def _totals(report: pb.Report | None) -> str:
    if report is None:
        return ""
    totals = report.totals
    line = f" tensors={totals.tensors} entries={totals.entries} pruned={totals.pruned} device={report.device}"
    digests = {"input_sha256": report.input_sha256, "result_sha256": report.result_sha256}
    return line + "".join(f" {name}={digest}" for name, digest in digests.items() if digest)
