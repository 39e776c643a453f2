"""A server that sends what the request cannot have is refused before anything is kept, over a real connection."""

import itertools
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pruning_client import Client, rules
from pruning_client.errors import ProtocolError
from pruning_client.results.output_format import Output
from pruning_proto.limits import MIB
from pruning_proto.safetensors.header import build
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.both import BOTH, Connect
from tests.client.scripted import Script, data, plan, report, scripted_server
from tests.client.tiny_files import F32, checkpoint, floats, written

SOURCE = checkpoint({"a.weight": (F32, (4, 2), floats(*range(8))), "b.bias": (F32, (2,), floats(1, 2))})
HALF = rules.l1_unstructured(0.5)
UNITS = rules.remove_units(2, groups=rules.group(["a.weight:0"]))

A = pb.TensorPlan(name="a.weight", dtype="F32", shape=[4, 2], rules=[0])
B = pb.TensorPlan(name="b.bias", dtype="F32", shape=[2], not_selected=pb.NOT_SELECTED_DIMS)
PLAN = plan(tensors=[A, B])


def file_of(*tensors: tuple[str, str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> bytes:
    """Return a safetensors file of zeros."""
    header, layout = build(tensors, metadata or {})
    return header + bytes(layout.buffer_bytes)


def answering(*messages: pb.PruneResponse) -> Script:
    """Return a server's answer to any call."""

    def script(requests: Iterator[pb.PruneRequest], _: grpc.ServicerContext) -> Iterator[pb.PruneResponse]:
        next(requests)
        yield from messages

    return script


def endless(*first: pb.PruneResponse, then: pb.PruneResponse) -> Script:
    """Return an answer that does not end."""

    def script(requests: Iterator[pb.PruneRequest], context: grpc.ServicerContext) -> Iterator[pb.PruneResponse]:
        next(requests)
        yield from first
        yield from itertools.takewhile(lambda _: context.is_active(), itertools.repeat(then))

    return script


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return written(tmp_path / "in", SOURCE)


def refuse(
    script: Script, model: Path, message: str, output: Output = "pruned", connect: Connect = Client, rule: Any = HALF
) -> None:
    """Check that a call is refused, and that nothing is kept of it."""
    with (
        scripted_server(script) as address,
        connect(address, retries=0) as client,
        pytest.raises(ProtocolError, match=message),
    ):
        client.prune_file(model, model.with_name("out"), rule, output=output, timeout=60)
    assert list(model.parent.iterdir()) == [model]


def tensor(name: str = "a.weight", dtype: str = "F32", shape: Iterable[int] = (4, 2), **fields: Any) -> pb.TensorPlan:
    return pb.TensorPlan(name=name, dtype=dtype, shape=shape, **fields)


@BOTH
@pytest.mark.parametrize(
    ("part", "message"),
    [
        pytest.param(pb.Plan(tensors=[tensor("c")]), "'c', which is not in the file", id="other tensor"),
        pytest.param(pb.Plan(tensors=[A, A]), "'a.weight' twice", id="tensor twice"),
        pytest.param(pb.Plan(tensors=[tensor(shape=[4, 3])]), "has F32 of shape", id="other shape"),
        pytest.param(pb.Plan(tensors=[tensor(shape=[1] * 10**6)]), "has F32 of shape", id="many dims"),
        pytest.param(pb.Plan(tensors=[tensor(dtype="F16")]), "has F32 of shape", id="other dtype"),
        pytest.param(pb.Plan(tensors=[tensor(rules=[1])]), "rules for tensor 'a.weight' that", id="rule that is none"),
        pytest.param(pb.Plan(tensors=[tensor(rules=[0] * 10**6)]), "rules for tensor", id="many rules"),
        pytest.param(pb.Plan(request_id="x" * 3 * MIB), "a plan of more than", id="long text"),
    ],
)
def test_plan_of_another_file_is_refused(connect: Connect, model: Path, part: pb.Plan, message: str) -> None:
    refuse(answering(pb.PruneResponse(plan=part)), model, message, connect=connect)


@BOTH
@pytest.mark.parametrize("size", [0, 2 * MIB], ids=["empty", "long"])
def test_plan_that_does_not_end_is_refused(connect: Connect, model: Path, size: int) -> None:
    part = pb.PruneResponse(plan=pb.Plan(device="x" * size))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refuse(endless(then=part), model, "a plan of more than", connect=connect)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB; client and server are here


@pytest.mark.parametrize(
    ("part", "message"),
    [
        pytest.param(pb.Report(tensors=[pb.TensorReport(name="c")]), "'c', which is not in the file", id="tensor"),
        pytest.param(pb.Report(groups=[pb.GroupReport(rule=0, units=1)]), "of a rule that has none", id="group"),
        pytest.param(pb.Report(version="x" * 3 * MIB), "a report of more than", id="long text"),
    ],
)
def test_report_of_another_file_is_refused(model: Path, part: pb.Report, message: str) -> None:
    refuse(answering(PLAN, data(SOURCE), pb.PruneResponse(report=part)), model, message)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        pytest.param({"rule": 1}, "of a rule that has none", id="rule"),
        pytest.param({"units": 2**40}, "more units than the file's tensors", id="units"),
        pytest.param({"units": 2, "kept": [0, 2]}, "keeps units which it does not have", id="kept"),
        pytest.param({"units": 2, "kept": [0, 0]}, "keeps units which it does not have", id="kept twice"),
        pytest.param({"units": 2, "tensors": ["c"]}, "tensors that are not in the file", id="tensors"),
        pytest.param({"units": 2, "tensors": ["a.weight"] * 2}, "or of one twice", id="tensor twice"),
    ],
)
def test_group_that_cannot_be_is_refused(model: Path, group: dict[str, Any], message: str) -> None:
    part = pb.PruneResponse(report=pb.Report(groups=[pb.GroupReport(**group)]))
    refuse(answering(PLAN, data(SOURCE), part), model, message, "removed", rule=UNITS)


def test_report_that_does_not_end_is_refused(model: Path) -> None:
    part = pb.PruneResponse(report=pb.Report())
    refuse(endless(PLAN, data(SOURCE), then=part), model, "a report of more than")


def test_groups_that_do_not_end_are_refused(model: Path) -> None:
    part = pb.PruneResponse(report=pb.Report(groups=[pb.GroupReport(name="g")]))
    refuse(endless(PLAN, data(SOURCE), then=part), model, "more units than", "removed", rule=UNITS)


@BOTH
@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        pytest.param([("a.weight", "F32", (4, 2))], "without tensor 'b.bias'", id="one less"),
        pytest.param([("c", "F32", (2,))], "a tensor 'c', which the request does not have", id="one more"),
        pytest.param([("a.weight", "F32", (2, 4))], r"shape \[2, 4\]; by the request .* \[4, 2\]", id="shape"),
        pytest.param([("a.weight", "F16", (4, 2))], "is F16 of shape", id="dtype"),
        pytest.param([("a.weight", "F32", (4, 2**40))], "by the request it is", id="terabytes"),
    ],
)
def test_result_of_other_tensors_is_refused(
    connect: Connect, model: Path, tensors: list[tuple[str, str, tuple[int, ...]]], message: str
) -> None:
    both = {"a.weight": ("a.weight", "F32", (4, 2)), "b.bias": ("b.bias", "F32", (2,))}
    named = {name: (name, dtype, shape) for name, dtype, shape in tensors}
    header, _ = build((named if message.startswith("without") else both | named).values(), {})
    refuse(answering(PLAN, data(header)), model, message, connect=connect)


@pytest.mark.parametrize(
    ("output", "tensors"),
    [
        ("masked", [("a.weight", "F32", (4, 2)), ("b.bias", "F32", (2,))]),
        ("masked", [("a.weight_orig", "F32", (4, 2)), ("a.weight_mask", "F32", (4, 2)), ("b.bias", "F32", (2,))]),
        ("mask", [("a.weight:mask_bits", "U8", (2,))]),
        ("mask", [("a.weight:mask_bits", "U8", (1,)), ("b.bias:mask_bits", "U8", (1,))]),
        ("packed", [("a.weight", "F32", (4, 3)), ("b.bias", "F32", (2,))]),
        ("removed", [("a.weight", "F32", (5, 2)), ("b.bias", "F32", (2,))]),
        ("removed", [("a.weight", "F32", (8,)), ("b.bias", "F32", (2,))]),
    ],
)
def test_result_of_another_format_is_refused(
    model: Path, output: Output, tensors: list[tuple[str, str, tuple[int, ...]]]
) -> None:
    rule = UNITS if output == "removed" else HALF
    refuse(answering(PLAN, data(file_of(*tensors))), model, "the server sent a result", output, rule=rule)


def test_packed_parts_of_another_shape_are_refused(model: Path) -> None:
    parts = [("a.shape", "I64", (2,)), ("a.compressed", "F32", (1,)), ("a.bitmask", "U8", (4, 9))]
    more = [("a.row_offsets", "I64", (4,)), ("b.bias", "F32", (2,))]
    packed = file_of(*parts, *more, metadata={"pruning.packed.v1": '{"a.weight":[4,72]}'})
    refuse(answering(PLAN, data(packed)), model, r"\[4, 72\]; by the request it is", "packed")


def test_compressed_tensor_of_more_bytes_than_its_frames_can_take_is_refused(model: Path) -> None:
    dense = '{"a.weight":["F32",[4,2]],"b.bias":["F32",[2]]}'
    header, _ = build((("a.weight", "U8", (2**40,)), ("b.bias", "U8", (12,))), {"pruning.packed.v2": dense})
    refuse(answering(PLAN, data(header)), model, "takes 1,099,511,627,776 bytes, of at most", "packed")


def test_compressed_tensors_of_another_shape_are_refused(model: Path) -> None:
    dense = '{"a.weight":["F32",[4,72]],"b.bias":["F32",[2]]}'
    compressed = file_of(("a.weight", "U8", (12,)), ("b.bias", "U8", (12,)), metadata={"pruning.packed.v2": dense})
    refuse(answering(PLAN, data(compressed)), model, r"\[4, 72\]; by the request it is", "packed")


@pytest.mark.parametrize(
    ("rows", "kept", "bias"),
    [(2, [0, 1, 2, 3], 2), (4, [0, 1], 2), (3, [0, 1], 2), (2, [0, 1], 1)],
    ids=["lost for no group", "not lost", "another number", "of no group"],
)
def test_removed_shapes_that_the_groups_do_not_explain_are_refused(
    model: Path, rows: int, kept: list[int], bias: int
) -> None:
    result = file_of(("a.weight", "F32", (rows, 2)), ("b.bias", "F32", (bias,)))
    group = pb.GroupReport(name="a.weight", units=4, kept=kept, tensors=["a.weight"])
    told = report(groups=[group])
    refuse(answering(PLAN, data(result), told), model, "groups of its report do not explain", "removed", rule=UNITS)


@BOTH
@pytest.mark.parametrize(
    "first", [(100_000_000).to_bytes(8, "little"), b"\xff" * 8], ids=["the format's limit", "more"]
)
def test_long_header_is_refused_by_its_length(connect: Connect, model: Path, first: bytes) -> None:
    refuse(endless(PLAN, data(first), then=data(b" " * MIB)), model, "header claims", connect=connect)


@BOTH
def test_data_that_do_not_end_are_refused(connect: Connect, model: Path) -> None:
    refuse(endless(PLAN, data(SOURCE), then=data(bytes(MIB))), model, "more than the", connect=connect)


@BOTH
def test_what_the_request_can_have_is_accepted(connect: Connect, model: Path) -> None:
    script = answering(PLAN, data(SOURCE), report(tensors=[pb.TensorReport(name="a.weight", entries=8)]))
    with scripted_server(script) as address, connect(address, retries=0) as client:
        client.prune_file(model, model.with_name("out"), HALF)
    assert model.with_name("out").read_bytes() == SOURCE
