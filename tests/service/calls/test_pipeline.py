"""The pipeline in memory: bytes in, bytes out, plan and report as values. No gRPC and no messages."""

import asyncio
from dataclasses import dataclass, field

import pytest

from pruning_engine.errors import CheckpointError
from pruning_engine.recipe import Fraction, Magnitude, Recipe, Rule, Scope
from pruning_proto import formats
from pruning_proto.formats import OutputFormat
from pruning_proto.reasons import Reason
from pruning_service.calls.pipeline import Pipeline, PipelineResult
from pruning_service.calls.preparation import Prepared
from pruning_service.calls.stage_times import StageTimes
from pruning_service.messages.recipe import Request
from pruning_service.resources.engine_worker import EngineWorker
from pruning_service.resources.memory_budget import Budget
from pruning_service.status import Refusal
from pruning_service.streams.tensor_reader import HeaderLimits
from tests.service.raw import f32, file

CONTENT = file(
    {
        "a.weight": ("F32", [2, 2], f32(4, -1, 3, -2)),
        "a.bias": ("F32", [2], f32(1, 2)),
        "b.weight": ("F32", [2, 2], f32(8, 7, -6, 5)),
    }
)
HALF = Rule(score=Magnitude(), amount=Fraction(0.5))
GLOBAL = Rule(score=Magnitude(), amount=Fraction(0.5), scope=Scope.GLOBAL)
LIMITS = HeaderLimits(header_bytes=1 << 20, max_tensors=100)


@dataclass
class MemorySource:
    """A file in memory, read a few bytes at a time."""

    content: bytes
    total_bytes: int
    position: int = 0

    async def read(self) -> memoryview | None:
        piece = memoryview(self.content)[self.position : self.position + 7]
        self.position += len(piece)
        return piece or None


@dataclass
class MemorySink:
    """A result in memory."""

    content: bytearray = field(default_factory=bytearray)
    backlog_bytes: int = 0

    async def write(self, data: memoryview) -> None:
        self.content += data

    async def nearly_drained(self) -> None:
        pass


@dataclass
class Outcome:
    """What came of a run."""

    prepared: Prepared
    result: PipelineResult
    content: bytes


def run(content: bytes, rule: Rule = HALF, output: OutputFormat = formats.PRUNED, cut: int = 0) -> Outcome:
    """Run a pipeline from bytes to bytes; `cut` bytes are missing at the end."""
    request = Request(recipe=Recipe((rule,), seed=7), is_seed_reported=True, output=output, aliases={})
    source, sink = MemorySource(content[: len(content) - cut], len(content)), MemorySink()

    async def piped() -> Outcome:
        worker = EngineWorker("cpu")
        try:
            pipeline = Pipeline(request, source, sink, worker, StageTimes())
            with Budget(1 << 30, 0).reservation() as reservation:
                prepared = await pipeline.prepare(LIMITS, reservation, "1.0")
                return Outcome(prepared, await pipeline.prune(prepared), bytes(sink.content))
        finally:
            worker.close()

    return asyncio.run(piped())


def test_bytes_of_a_file_become_those_of_the_pruned_file() -> None:
    outcome = run(CONTENT)
    assert outcome.content.endswith(f32(4, 0, 3, 0) + f32(1, 2) + f32(8, 7, 0, 0))
    assert outcome.result.result_bytes == outcome.prepared.result_bytes == len(outcome.content)


def test_report_is_a_value() -> None:
    report = run(CONTENT).result.report
    assert [(tensor.name, tensor.pruned) for tensor in report.tensors] == [("a.weight", 2), ("b.weight", 2)]


def test_tensors_wait_for_a_global_rule_and_keep_their_order() -> None:
    assert run(CONTENT, GLOBAL).content.endswith(f32(0, 0, 0, 0) + f32(1, 2) + f32(8, 7, -6, 5))


def test_report_alone_has_no_bytes() -> None:
    outcome = run(CONTENT, output=formats.REPORT)
    assert (outcome.content, outcome.result.result_bytes) == (b"", None)


def test_size_of_a_packed_file_is_known_at_the_end() -> None:
    outcome = run(file({"w.weight": ("F32", [64, 64], bytes(4 * 64 * 64))}), output=formats.PACKED)
    assert outcome.prepared.result_bytes is None
    assert outcome.result.result_bytes == len(outcome.content)


def test_every_stage_has_its_seconds() -> None:
    assert set(run(CONTENT).result.seconds) == {"receive", "prune", "send"}


def test_source_that_ends_early_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        run(CONTENT, cut=1)
    assert caught.value.reason is Reason.TRUNCATED


def test_errors_of_the_engine_come_out() -> None:
    with pytest.raises(CheckpointError):
        run(file({"w.weight": ("F32", [1, 2], f32(float("nan"), 1))}))
