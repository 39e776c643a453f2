"""One checkpoint carried out in parts, each by a runner of its own, and the same in one call."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pruning_client import Recipe, Rule
from pruning_proto.safetensors.header import Layout
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service import local
from pruning_service.local_settings import LocalSettings
from pruning_service.messages.plan_and_report import report_messages
from pruning_service.parts import PartRunner, Phase, PhaseKind, WholePlan, phase_from, seeded, steps

SETTINGS = LocalSettings(threads=2, memory_bytes=1 << 33)
VERSION = local._version()
TIMES = ("request_id", "stage_seconds", "version")


@dataclass
class InMemory:
    """A checkpoint's buffer, and which ranges of it were read."""

    buffer: bytes
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def read_into(self, data: memoryview, begin: int) -> None:
        assert len(data)
        self.ranges.append((begin, begin + len(data)))
        data[:] = self.buffer[begin : begin + len(data)]

    def read_ranges(self, data: memoryview, ranges: Sequence[tuple[int, int]]) -> None:
        for begin, end in ranges:
            self.read_into(data[: end - begin], begin)
            data = data[end - begin :]
        assert not len(data)

    @property
    def read_bytes(self) -> int:
        return sum(end - begin for begin, end in self.ranges)


class Gathered:
    """Results in the order in which they were written."""

    def __init__(self) -> None:
        self.results: dict[str, bytes] = {}

    def write(self, name: str, data: memoryview) -> None:
        self.results[name] = bytes(data)


@dataclass(frozen=True)
class Result:
    """The bytes of a result in one file, and its report without times."""

    data: bytes
    report: pb.Report


def at_once(options: pb.PruneOptions, content: bytes) -> Result:
    """Return what one local call returns. Raises: AssertionError with its failure."""
    results: list[bytes] = []
    report = pb.Report()

    def receive(message: pb.PruneResponse | memoryview) -> None:
        if isinstance(message, memoryview):
            results.append(bytes(message))
            return
        assert not message.HasField("failure"), message.failure.message
        if message.HasField("report"):
            report.MergeFrom(message.report)

    local.prune(options, [content], receive, SETTINGS)
    return Result(b"".join(results), _without_times(report))


def split(content: bytes) -> tuple[bytes, bytes]:
    """Return the header, with its prefix, and the buffer of a file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return content[:end], content[end:]


@dataclass
class InParts:
    """A checkpoint in parts. `store`: what was read; `records`: what each part of each phase found, by its name."""

    options: pb.PruneOptions
    content: bytes
    files: Sequence[Sequence[str]]
    order: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - an order
    records: dict[tuple[str, int], bytes] = field(default_factory=dict)
    written: dict[int, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.options = seeded(self.options)
        self.header, buffer = split(self.content)
        self.store = InMemory(buffer)

    def whole(self) -> WholePlan:
        return WholePlan(self.options, self.header, VERSION, SETTINGS)

    def run(self) -> Result:
        """Carry everything out that has no record yet, parts in any order."""
        whole = self.whole()
        division = whole.divide(self.files)
        following = steps(division)
        phase = next(following)
        results: dict[str, bytes] = {}
        try:
            while True:
                token = phase.to_bytes(division.name)
                for part in self.order.sample(phase.parts, len(phase.parts)):
                    if (phase.name, part) not in self.records:
                        self.records[phase.name, part] = self._part(token, part, results)
                phase = following.send([self.records[phase.name, part] for part in phase.parts])
        except StopIteration as end:
            report = pb.Report()
            last = pb.Report(
                device=end.value.report.device, seed=end.value.report.seed, reproducible=end.value.report.reproducible
            )
            for message in report_messages(end.value.report, last):
                report.MergeFrom(message.report)
        data = whole.result_header + b"".join(results[entry.name] for entry in whole.result.tensors)
        if whole.prepared.output.has_file:
            report.result_bytes = len(data)
        return Result(data, _without_times(report))

    def _part(self, token: bytes, part: int, results: dict[str, bytes]) -> bytes:
        """Do one part as another process would: from the request, the header and what names the phase."""
        division = self.whole().divide(self.files)
        phase: Phase = phase_from(token, division.name)
        sink = Gathered()
        runner = PartRunner(division, SETTINGS)
        assert runner.peak_bytes(part) > 0
        record = runner.run(phase, part, self.store, sink)
        if phase.kind is PhaseKind.WRITE:
            assert list(sink.results) == list(division.results_of(part))
        results.update(sink.results)
        return record


def files_of(result: Layout, parts: int) -> list[list[str]]:
    """Return the names of results in files of about as many tensors each."""
    names = [entry.name for entry in result.tensors]
    step = max(1, -(-len(names) // parts))
    return [names[at : at + step] for at in range(0, len(names), step)] or [[]]


def shuffled(result: Layout, parts: int, seed: int) -> list[list[str]]:
    """Return the names of results in files that have any tensors, in any order."""
    draw = random.Random(seed)  # noqa: S311 - an order
    names = [entry.name for entry in result.tensors]
    draw.shuffle(names)
    files: list[list[str]] = [[] for _ in range(parts)]
    for name in names:
        files[draw.randrange(parts)].append(name)
    return files


def result_of(options: pb.PruneOptions, content: bytes) -> Layout:
    """Return the layout of the result."""
    return WholePlan(seeded(options), split(content)[0], VERSION, SETTINGS).result


def options_for(content: bytes, rules: Sequence[Rule], output: "pb.OutputForm", **fields: object) -> pb.PruneOptions:
    """Return the options of a file."""
    recipe = Recipe(rules, seed=11).to_message()
    return pb.PruneOptions(recipe=recipe, output=output, total_bytes=len(content), **fields)  # type: ignore[arg-type]


def _without_times(report: pb.Report) -> pb.Report:
    found = pb.Report()
    found.CopyFrom(report)
    for name in TIMES:
        found.ClearField(name)
    return found


def rows(report: pb.Report) -> Mapping[str, pb.TensorReport]:
    """Return the rows of a report by name."""
    return {row.name: row for row in report.tensors}
