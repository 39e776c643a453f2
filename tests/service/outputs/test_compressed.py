"""Form PACKED with zstd: the bytes that `prune pack --zstd` writes for the result of form PRUNED."""

from pathlib import Path

import grpc
import numpy as np
import pytest

from pruning_client import Client, pack_file, rules, unpack_file
from pruning_client.errors import RecipeError
from pruning_proto.names import ZSTD_KEY
from pruning_proto.packed.format import ENTRIES
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.both import BOTH, Connect
from tests.servers import ServerProcess
from tests.service.outputs.test_packed import MODEL, RULES
from tests.service.raw import f32, file, prune

ZSTD = {"output": pb.OUTPUT_FORM_PACKED, "compression": pb.COMPRESSION_ZSTD}


@pytest.mark.parametrize("canonical_zero", [False, True], ids=["by bits", "canonical zero"])
@pytest.mark.parametrize("name", RULES)
def test_result_is_the_pruned_file_compressed(
    server: ServerProcess, tmp_path: Path, name: str, canonical_zero: bool
) -> None:
    outcome = prune(server.address, MODEL, rules=RULES[name], canonical_zero=canonical_zero, **ZSTD)
    (tmp_path / "pruned").write_bytes(prune(server.address, MODEL, rules=RULES[name]).data)
    pack_file(tmp_path / "pruned", tmp_path / "packed", canonical_zero=canonical_zero, compression="zstd")
    assert outcome.data == (tmp_path / "packed").read_bytes()
    assert outcome.report.result_bytes == len(outcome.data)
    assert outcome.report.negative_zeros == 2


def test_tensors_that_come_last_in_the_dense_file_do_so_in_frames(server: ServerProcess, tmp_path: Path) -> None:
    content = file({"odd": ("U8", [3], b"abc"), "a.weight": ("F32", [8, 8], f32(*range(64)))})
    outcome = prune(server.address, content, **ZSTD)
    (tmp_path / "packed").write_bytes(outcome.data)
    unpack_file(tmp_path / "packed", tmp_path / "dense")
    assert (tmp_path / "dense").read_bytes() == prune(server.address, content).data


def test_large_tensor_has_several_frames(server: ServerProcess) -> None:
    weights = np.random.default_rng(0).standard_normal((3, ENTRIES), np.float32)
    with Client(server.address) as client:
        packed = client.prune({"a.weight": weights}, rules.l1_unstructured(0.5), output="packed", compression="zstd")
        dense = client.prune({"a.weight": weights}, rules.l1_unstructured(0.5))
    assert np.array_equal(packed.state_dict["a.weight"], dense.state_dict["a.weight"])


def test_plan_has_no_size_and_reserves_what_compressing_takes(server: ServerProcess) -> None:
    packed = prune(server.address, MODEL, output=pb.OUTPUT_FORM_PACKED).plan
    compressed = prune(server.address, MODEL, **ZSTD).plan
    assert not compressed.HasField("result_bytes")
    assert compressed.peak_bytes > packed.peak_bytes


def test_digest_is_of_the_compressed_file(server: ServerProcess) -> None:
    with Client(server.address) as client:
        result = client.prune(
            {"w": np.eye(64, dtype=np.float32)},
            rules.l1_unstructured(0.5, include=["w"]),
            output="packed",
            compression="zstd",
            digests=True,
        )
    assert result.report.result_sha256 is not None  # the client has checked it
    assert result.report.result_bytes == result.layout.total_bytes


def test_names_that_only_packing_would_take_are_free(server: ServerProcess) -> None:
    content = file({"a.weight": ("F32", [2, 2], f32(1, 2, 3, 4)), "a.bitmask": ("F32", [1], f32(1))})
    assert prune(server.address, content, **ZSTD).code == grpc.StatusCode.OK


def test_compression_is_refused_for_other_forms(server: ServerProcess) -> None:
    outcome = prune(server.address, MODEL, compression=pb.COMPRESSION_ZSTD)
    assert outcome.failure.reason == "INVALID_RECIPE"
    assert outcome.failure.violations[0].field == "compression"


def test_unknown_compression_is_refused(server: ServerProcess) -> None:
    outcome = prune(server.address, MODEL, output=pb.OUTPUT_FORM_PACKED, compression=77)
    assert outcome.failure.reason == "UNSUPPORTED_FIELD"
    assert outcome.failure.violations[0].field == "compression"


@BOTH
def test_clients_return_the_tensors_and_save_the_compressed_file(
    server: ServerProcess, connect: Connect, tmp_path: Path
) -> None:
    weights = np.random.default_rng(0).standard_normal((64, 300), np.float32)
    half = rules.l1_unstructured(0.5)
    with connect(server.address) as client:
        dense = client.prune({"a.weight": weights}, half)
        result = client.prune({"a.weight": weights}, half, output="packed", compression="zstd")
        result.save(tmp_path / "packed")
        again = client.prune(tmp_path / "packed", half)
    assert np.array_equal(result.state_dict["a.weight"], dense.state_dict["a.weight"])
    assert ZSTD_KEY in result.metadata
    assert (again.report.pruned_before, again.report.pruned) == (64 * 300 // 2, 64 * 300 * 3 // 4)


def test_client_refuses_another_compression(server: ServerProcess) -> None:
    with Client(server.address) as client, pytest.raises(RecipeError, match="'zstd' or None, got 'gzip'"):
        client.prune({"w": np.ones(4, np.float32)}, rules.l1_unstructured(0.5), output="packed", compression="gzip")  # type: ignore[arg-type]


def test_capabilities_name_it(server: ServerProcess) -> None:
    with Client(server.address) as client:
        assert client.capabilities().compressions == ("zstd",)
