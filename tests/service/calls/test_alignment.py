"""In every result each tensor begins at a multiple of its dtype's size, whatever the input."""

import grpc
import pytest

from pruning_proto.safetensors.dtypes import DTYPE_BITS
from pruning_proto.safetensors.header import PREFIX_BYTES, json_bytes, parse
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess
from tests.service.raw import f32, file, l1, prune

ODD = {
    "flag": ("BOOL", [3], b"\1\0\1"),
    "a.weight": ("F32", [2, 2], f32(4, -1, 3, -2)),
    "half": ("BF16", [3], bytes(range(6))),
    "b.weight": ("F32", [2, 2], f32(8, 7, -6, 5)),
    "steps": ("I64", [], bytes(range(8))),
}


def tensors_of(content: bytes) -> dict[str, tuple[int, str, bytes]]:
    """Where each tensor of a file begins, its dtype and its bytes."""
    end = PREFIX_BYTES + json_bytes(content[:PREFIX_BYTES])
    layout = parse(content[PREFIX_BYTES:end])
    buffer = content[end:]
    return {entry.name: (entry.begin, entry.dtype, buffer[entry.begin : entry.end]) for entry in layout.tensors}


@pytest.mark.parametrize("output", ["PRUNED", "MASKED", "MASK"])
def test_odd_tensors_come_last(server: ServerProcess, output: str) -> None:
    outcome = prune(server.address, file(ODD), rules=[l1(0.5)], output=pb.OutputForm.Value(f"OUTPUT_FORM_{output}"))
    assert outcome.code is grpc.StatusCode.OK
    for begin, dtype, _ in tensors_of(outcome.data).values():
        assert begin % (DTYPE_BITS[dtype] // 8) == 0


def test_all_tensors_keep_their_bytes(server: ServerProcess) -> None:
    tensors = tensors_of(prune(server.address, file(ODD), rules=[l1(0.5)]).data)
    assert list(tensors) == ["a.weight", "b.weight", "steps", "half", "flag"]
    assert tensors["flag"][2] == b"\1\0\1"
    assert tensors["a.weight"][2] == f32(4, 0, 3, 0)
    assert tensors["half"][2] == bytes(range(6))


def test_aligned_file_keeps_its_order(server: ServerProcess) -> None:
    content = file({name: ODD[name] for name in ("b.weight", "half", "flag")})
    assert list(tensors_of(prune(server.address, content, rules=[l1(0.5)]).data)) == ["b.weight", "half", "flag"]
