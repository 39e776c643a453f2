"""Form PACKED over the wire: the bytes that packing the result of form PRUNED gives."""

from pathlib import Path

import numpy as np
import pytest

from pruning_client import Client, pack_file, rules
from pruning_proto.names import PACKED_KEY
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.both import BOTH, Connect
from tests.servers import ServerProcess
from tests.service.raw import f32, file, l1, prune

RANDOM = np.random.default_rng(0)


def normal(*shape: int, dtype: str = "float32") -> bytes:
    return RANDOM.standard_normal(shape).astype(dtype).tobytes()


MODEL = file(
    {
        "a.weight": ("F32", [64, 300], normal(64, 300)),
        "conv.weight": ("F16", [8, 4, 3, 3], normal(8, 4, 3, 3, dtype="float16")),
        "a.bias": ("F32", [4], f32(-0.0, 0.0, 1.0, -0.0)),
        "zeros": ("I64", [1000], bytes(8000)),
        "odd": ("F4", [4], b"\x12\x08"),
        "empty": ("F32", [0, 3], b""),
        "b.weight": ("F64", [20, 33], normal(20, 33, dtype="float64")),
        "c.weight": ("F32", [5, 301], normal(5, 301)),
        "d": ("I32", [1], b"\x01\x00\x00\x00"),
    },
    {"format": "pt", "note": "kept"},
)
"""Tensors that rules select and others, that get smaller and others, of widths 2 to 8, one of them of half a byte."""

HALF = rules.l1_unstructured(0.5, include=["w"])
RULES = {
    "local": [l1(0.9)],
    "local, too little": [l1(0.01)],
    "global": [l1(0.9, scope=pb.SCOPE_GLOBAL)],
    "in two rounds": [l1(0.9), l1(0.5, scope=pb.SCOPE_GLOBAL, select=pb.Selector(include=["b.weight"]))],
}


def pruned_and_packed(server: ServerProcess, folder: Path, rules: list[pb.Rule], *, canonical_zero: bool) -> bytes:
    """Return what comes of pruning here and packing there."""
    (folder / "pruned").write_bytes(prune(server.address, MODEL, rules=rules).data)
    pack_file(folder / "pruned", folder / "packed", canonical_zero=canonical_zero)
    return (folder / "packed").read_bytes()


@pytest.mark.parametrize("canonical_zero", [False, True], ids=["by bits", "canonical zero"])
@pytest.mark.parametrize("name", RULES)
def test_result_is_the_pruned_file_packed(
    server: ServerProcess, tmp_path: Path, name: str, canonical_zero: bool
) -> None:
    outcome = prune(
        server.address, MODEL, rules=RULES[name], output=pb.OUTPUT_FORM_PACKED, canonical_zero=canonical_zero
    )
    assert outcome.data == pruned_and_packed(server, tmp_path, RULES[name], canonical_zero=canonical_zero)
    assert outcome.report.result_bytes == len(outcome.data)
    assert outcome.report.negative_zeros == 2


def test_plan_tells_no_size_and_what_is_reserved(server: ServerProcess) -> None:
    plan = prune(server.address, MODEL, output=pb.OUTPUT_FORM_PACKED).plan
    assert not plan.HasField("result_bytes")
    assert plan.peak_bytes >= len(MODEL)


@pytest.mark.parametrize(
    ("output", "has_file"), [(pb.OUTPUT_FORM_PRUNED, True), (pb.OUTPUT_FORM_REPORT, False)], ids=["pruned", "report"]
)
def test_report_of_other_forms_tells_their_size_if_they_have_one(
    server: ServerProcess, output: "pb.OutputForm", has_file: bool
) -> None:
    outcome = prune(server.address, MODEL, output=output)
    assert outcome.report.HasField("result_bytes") == has_file
    assert outcome.report.result_bytes == len(outcome.data)
    assert outcome.report.negative_zeros == 0


def test_masked_pairs_are_folded_before_they_are_packed(server: ServerProcess) -> None:
    weight, mask = [1.0] * 200, [0, 1] * 100
    content = file({"w_orig": ("F32", [200], f32(*weight)), "w_mask": ("BOOL", [200], bytes(mask))})
    rule = l1(0.0, select=pb.Selector(include=["w"]))
    outcome = prune(server.address, content, rules=[rule], output=pb.OUTPUT_FORM_PACKED)
    assert outcome.data.endswith(f32(*[1.0] * 100) + b"\xaa" * 25)


def test_digest_is_of_the_packed_file(server: ServerProcess) -> None:
    with Client(server.address) as client:
        result = client.prune({"w": np.eye(64, dtype=np.float32)}, HALF, output="packed", digests=True)
    assert result.report.result_sha256 is not None  # the client has checked it
    assert result.report.result_bytes == result.layout.total_bytes


def test_canonical_zero_is_refused_for_other_forms(server: ServerProcess) -> None:
    outcome = prune(server.address, MODEL, canonical_zero=True)
    assert outcome.failure.reason == "INVALID_RECIPE"
    assert outcome.failure.violations[0].field == "canonical_zero"


def test_packed_file_is_refused_by_a_server(server: ServerProcess) -> None:
    content = prune(server.address, MODEL, output=pb.OUTPUT_FORM_PACKED).data
    outcome = prune(server.address, content)
    assert (outcome.failure.reason, outcome.kinds) == ("PACKED_INPUT", ["failure"])


def test_compressed_packed_file_is_refused_by_a_server(server: ServerProcess, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(MODEL)
    pack_file(path, path, compression="zstd")
    outcome = prune(server.address, path.read_bytes())
    assert (outcome.failure.reason, outcome.kinds) == ("PACKED_INPUT", ["failure"])


def test_name_that_a_packed_tensor_would_take_is_refused_before_the_buffer(server: ServerProcess) -> None:
    content = file({"a.weight": ("F32", [2, 2], f32(1, 2, 3, 4)), "a.bitmask": ("F32", [1], f32(1))})
    outcome = prune(server.address, content, output=pb.OUTPUT_FORM_PACKED)
    assert (outcome.failure.reason, outcome.kinds) == ("NAME_COLLISION", ["failure"])


@BOTH
def test_clients_give_the_tensors_and_save_the_packed_file(
    server: ServerProcess, connect: Connect, tmp_path: Path
) -> None:
    weights = np.frombuffer(normal(64, 300), np.float32).reshape(64, 300)
    with connect(server.address) as client:
        dense = client.prune({"a.weight": weights}, rules.l1_unstructured(0.5))
        packed = client.prune({"a.weight": weights}, rules.l1_unstructured(0.5), output="packed")
        packed.save(tmp_path / "packed")
        again = client.prune(tmp_path / "packed", rules.l1_unstructured(0.5))
    assert np.array_equal(packed.state_dict["a.weight"], dense.state_dict["a.weight"])
    assert PACKED_KEY in packed.metadata
    assert (again.report.pruned_before, again.report.pruned) == (64 * 300 // 2, 64 * 300 * 3 // 4)
