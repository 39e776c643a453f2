"""Packed files: equal by bits when they are unpacked, smaller, and refused where they are damaged."""

import json
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning_client import pack_file, unpack_file
from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.packed import PackedSource
from pruning_client.errors import CheckpointError, MismatchError
from pruning_client.numpy import load_packed as load_arrays
from pruning_client.torch import load_packed
from pruning_proto.names import PACKED_KEY, PACKED_ORDER_KEY
from pruning_proto.packed.format import ENTRIES
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.dtypes import DTYPE_BITS
from pruning_proto.safetensors.header import Layout, build, parse
from tests.client.tiny_files import F32, checkpoint, floats, written

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]

SHAPES = st.lists(st.integers(0, 9), max_size=4).map(tuple)
NAMES = st.sampled_from(["a", "a.weight", "weight", "b.c.weight", "long name"])


def layout_of(content: bytes) -> Layout:
    (length,) = struct.unpack("<Q", content[:8])
    return parse(content[8 : 8 + length])


def part_of(content: bytes, name: str) -> bytes:
    layout = layout_of(content)
    entry = next(entry for entry in layout.tensors if entry.name == name)
    return content[layout.header_bytes + entry.begin : layout.header_bytes + entry.end]


def names_in(path: Path) -> list[str]:
    return [entry.name for entry in layout_of(path.read_bytes()).tensors]


def packed(folder: Path, content: bytes, *, canonical_zero: bool = False) -> Path:
    """Return a packed file of these bytes."""
    pack_file(written(folder / "dense", content), folder / "packed", canonical_zero=canonical_zero)
    return folder / "packed"


def unpacked(path: Path) -> bytes:
    unpack_file(path, path.with_name("unpacked"))
    return path.with_name("unpacked").read_bytes()


def sparse(shape: tuple[int, ...], sparsity: float = 0.9, dtype: str = "float32") -> bytes:
    """Random entries of which a part is +0.0."""
    random = np.random.default_rng(0)
    numbers = random.standard_normal(shape).astype(dtype)
    fallen = random.permutation(numbers.size)[: round(sparsity * numbers.size)]
    numbers.reshape(-1)[fallen] = 0
    return numbers.tobytes()


def test_entries_without_a_bit_are_left_out(tmp_path: Path) -> None:
    content = checkpoint({"w": (F32, (2, 150), floats(*[0.0] * 299, 7.0))})
    path = packed(tmp_path, content)
    assert part_of(path.read_bytes(), "w.values") == floats(7.0)
    assert part_of(path.read_bytes(), "w.bits") == bytes(37) + b"\x08"
    assert json.loads(layout_of(path.read_bytes()).metadata[PACKED_KEY]) == {"w": [2, 150]}


def test_matrix_goes_by_the_names_of_compressed_tensors(tmp_path: Path) -> None:
    content = checkpoint({"fc.weight": (F32, (2, 300), floats(*[0.0] * 299, 7.0, 5.0, *[0.0] * 299))})
    path = packed(tmp_path, content)
    assert names_in(path) == ["fc.shape", "fc.compressed", "fc.row_offsets", "fc.bitmask"]
    there = path.read_bytes()
    assert part_of(there, "fc.shape") == struct.pack("<2q", 2, 300)
    assert part_of(there, "fc.compressed") == floats(7.0, 5.0)
    assert part_of(there, "fc.bitmask") == bytes(37) + b"\x08" + b"\x01" + bytes(37)
    assert part_of(there, "fc.row_offsets") == struct.pack("<2q", 0, 1)


ODD: Tensors = {
    "a.weight": ("F16", (3, 301), sparse((3, 301), 0.9, "float16")),
    "b": (F32, (1,), floats(1.0)),
    "c": ("F64", (333,), sparse((333,), 0.9, "float64")),
    "d": (F32, (2,), floats(2.0, 3.0)),
}
"""Tensors whose masks have odd sizes, and small ones that stay as they are."""


def test_every_part_is_aligned(tmp_path: Path) -> None:
    path = packed(tmp_path, checkpoint(ODD))
    entries = layout_of(path.read_bytes()).tensors
    assert [entry.name for entry in entries if entry.begin % (DTYPE_BITS[entry.dtype] // 8)] == []
    assert {"a.compressed", "a.row_offsets", "b", "c.values"} <= {entry.name for entry in entries}


def test_order_of_the_dense_file_comes_back(tmp_path: Path) -> None:
    path = packed(tmp_path, checkpoint(ODD))
    assert json.loads(layout_of(path.read_bytes()).metadata[PACKED_ORDER_KEY]) != [0, 1, 2, 3]
    assert unpacked(path) == checkpoint(ODD)


def test_what_would_grow_stays_as_it_is(tmp_path: Path) -> None:
    content = checkpoint({"fc.weight": (F32, (40, 40), sparse((40, 40), 0.1)), "bias": (F32, (3,), floats(0, 0, 1))})
    assert names_in(packed(tmp_path, content)) == ["fc.weight", "bias"]


@st.composite
def tensors(draw: st.DrawFn) -> Tensors:
    """Tensors of any dtype and shape, of random bits of which many are 0: NaN with payloads, -0.0, and all else."""
    found: Tensors = {}
    for name in sorted(draw(st.lists(NAMES, unique=True, max_size=4))):  # so stand tensors of no bytes in any file
        dtype, shape = draw(st.sampled_from(sorted(DTYPE_BITS))), draw(SHAPES)
        scale = draw(st.sampled_from([1, 8, 64]))
        shape = (*shape[:-1], shape[-1] * scale) if shape else shape
        entries = int(np.prod(shape, dtype=int))
        if entries * DTYPE_BITS[dtype] % 8:
            shape, entries = (8,), 8
        random = np.random.default_rng(draw(st.integers(0, 2**32)))
        width = max(1, DTYPE_BITS[dtype] // 8)
        data = random.integers(0, 256, entries * DTYPE_BITS[dtype] // 8, dtype=np.uint8).reshape(-1, width)
        data[random.random(len(data)) < draw(st.sampled_from([0.0, 0.5, 0.95, 1.0]))] = 0
        found[name] = (dtype, shape, data.tobytes())
    return found


@settings(max_examples=50)
@given(tensors())
def test_every_dtype_and_shape_comes_back_by_bits(tmp_path_factory: pytest.TempPathFactory, given: Tensors) -> None:
    content = checkpoint(given, {"format": "pt", "note": "kept"})
    path = packed(tmp_path_factory.mktemp("round-trip"), content)
    assert unpacked(path) == content


@pytest.mark.parametrize("shape", [(3, ENTRIES + 13), (ENTRIES // 100, 300), (5, 7, 4), (), (0, 3), (1000, 3)])
def test_tensor_of_several_pieces_comes_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    content = checkpoint({"a.weight": ("F16", shape, sparse(shape, 0.95, "float16")), "b": (F32, (1,), floats(1))})
    assert unpacked(packed(tmp_path, content)) == content


@pytest.mark.parametrize(("sparsity", "most"), [(0.5, 0.54), (0.9, 0.14)])
def test_rows_of_256_take_little_more_than_their_survivors(tmp_path: Path, sparsity: float, most: float) -> None:
    content = checkpoint({"fc.weight": (F32, (4096, 256), sparse((4096, 256), sparsity))})
    done = pack_file(written(tmp_path / "dense", content), tmp_path / "packed")
    assert done.ratio <= most
    assert done.packed_bytes == (tmp_path / "packed").stat().st_size
    assert done.dense_bytes == len(content)


def test_negative_zero_is_kept_and_counted(tmp_path: Path) -> None:
    content = checkpoint({"w": (F32, (400,), floats(*[0.0] * 300, *[-0.0] * 100))})
    done = pack_file(written(tmp_path / "dense", content), tmp_path / "packed")
    assert done.negative_zeros == 100
    assert unpacked(tmp_path / "packed") == content


@pytest.mark.parametrize(
    ("dtype", "zero"),
    [
        ("F64", b"\x00" * 7 + b"\x80"),
        ("F32", b"\x00" * 3 + b"\x80"),
        ("BF16", b"\x00\x80"),
        ("F16", b"\x00\x80"),
        ("F8_E5M2", b"\x80"),
        ("F8_E4M3", b"\x80"),
        ("C64", b"\x00" * 3 + b"\x80" + b"\x00" * 4),
    ],
)
def test_negative_zero_becomes_positive_where_that_is_asked(tmp_path: Path, dtype: str, zero: bytes) -> None:
    one = bytes(len(zero) - 1) + b"\x3f"
    content = checkpoint({"w": (dtype, (2000,), zero * 1999 + one)})
    path = packed(tmp_path, content, canonical_zero=True)
    assert part_of(path.read_bytes(), "w.values") == one
    assert unpacked(path) == checkpoint({"w": (dtype, (2000,), bytes(1999 * len(zero)) + one)})


def test_negative_zero_becomes_positive_also_in_a_tensor_that_stays_as_it_is(tmp_path: Path) -> None:
    content = checkpoint({"bias": (F32, (3,), floats(-0.0, 1, 2))})
    assert part_of(packed(tmp_path, content, canonical_zero=True).read_bytes(), "bias") == floats(0.0, 1, 2)


def test_bits_that_mean_something_else_are_no_negative_zero(tmp_path: Path) -> None:
    content = checkpoint({"w": ("U32", (300,), floats(-0.0) * 3 + bytes(297 * 4))})
    assert unpacked(packed(tmp_path, content, canonical_zero=True)) == content


def test_every_other_key_of_the_metadata_survives(tmp_path: Path) -> None:
    metadata = {"format": "pt", "pruning.v1": "[]"}
    path = packed(tmp_path, checkpoint({"w": (F32, (300,), bytes(1200))}, metadata))
    assert dict(layout_of(path.read_bytes()).metadata) == metadata | {PACKED_KEY: '{"w":[300]}'}


def test_file_is_packed_in_its_place(tmp_path: Path) -> None:
    content = checkpoint({"w": (F32, (300,), bytes(1200))})
    path = written(tmp_path / "model", content)
    pack_file(path, path)
    assert unpacked(path) == content


def test_packed_file_is_loaded_without_pickle(tmp_path: Path) -> None:
    weights = sparse((64, 64))
    path = packed(tmp_path, checkpoint({"fc.weight": ("F32", (64, 64), weights), "n": ("BF16", (), b"\x80\x3f")}))
    loaded = load_packed(path)
    assert list(loaded) == ["fc.weight", "n"]
    assert loaded["fc.weight"].numpy().tobytes() == weights
    assert torch.equal(loaded["n"], torch.tensor(1.0, dtype=torch.bfloat16))


def test_packed_file_is_loaded_as_numpy(tmp_path: Path) -> None:
    weights = sparse((64, 64))
    loaded = load_arrays(packed(tmp_path, checkpoint({"fc.weight": ("F32", (64, 64), weights)})))
    assert loaded["fc.weight"].shape == (64, 64)
    assert loaded["fc.weight"].tobytes() == weights


def test_file_that_is_packed_already_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path, checkpoint({"w": (F32, (300,), bytes(1200))}))
    with pytest.raises(CheckpointError, match=r"is packed .*; unpack it first, with `prune unpack`") as refused:
        pack_file(path, tmp_path / "again")
    assert refused.value.reason == Reason.PACKED_INPUT
    assert not (tmp_path / "again").exists()


def test_file_that_is_not_packed_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "model", checkpoint({"w": (F32, (1,), floats(1))}))
    with pytest.raises(CheckpointError, match=f"no key '{PACKED_KEY}'; was it written by `prune pack`") as refused:
        unpack_file(path, tmp_path / "out")
    assert refused.value.reason == Reason.INVALID_PACKED


@pytest.mark.parametrize(("name", "other"), [("w", "w.bits"), ("fc.weight", "fc.row_offsets")])
def test_name_that_a_packed_tensor_would_take_is_refused(tmp_path: Path, name: str, other: str) -> None:
    content = checkpoint({name: (F32, (2, 2), bytes(16)), other: (F32, (1,), bytes(4))})
    with pytest.raises(MismatchError, match=f"the packed form of '{name}' would take the name '{other}'") as refused:
        packed(tmp_path, content)
    assert refused.value.reason == Reason.NAME_COLLISION


@dataclass(frozen=True)
class Damage:
    """What is done to the packed file of a matrix `fc.weight` (F32, 4 x 300), whose parts begin as told."""

    id: str
    says: str
    metadata: str | None = None
    drop: str | None = None
    bytes_of: tuple[str, int, bytes] | None = None


DAMAGES = [
    Damage("the shapes are not JSON", "is not JSON", metadata="{"),
    Damage("the shapes are nested too deeply", "is not JSON", metadata="[" * 100_000),
    Damage("the shapes are no object", "must have an object", metadata="[1]"),
    Damage("a shape is no list of numbers", "must be positive integers, got 'x'", metadata='{"fc.weight":"x"}'),
    Damage("a shape has a zero", "must be positive integers", metadata='{"fc.weight":[0,300]}'),
    Damage("a shape is another one", r"'fc.bitmask' must be U8 of shape \[4, 39\]", metadata='{"fc.weight":[4,310]}'),
    Damage("a shape of as many bytes", "'fc.bitmask' marks|'fc.shape' does not fit", metadata='{"fc.weight":[4,299]}'),
    Damage("a tensor is not there", "'fd.compressed' is missing", metadata='{"fd.weight":[4,300]}'),
    Damage("the values are missing", "'fc.compressed' is missing", drop="fc.compressed"),
    Damage("the mask is missing", "'fc.bitmask' is missing", drop="fc.bitmask"),
    Damage("the offsets are missing", "'fc.row_offsets' is missing", drop="fc.row_offsets"),
    Damage("a bit too many", "marks more entries than 'fc.compressed' has", bytes_of=("fc.bitmask", 0, b"\xff")),
    Damage("a bit too few", "marks fewer entries than 'fc.compressed' has", bytes_of=("fc.bitmask", 37, b"\x00")),
    Damage("a bit beyond a row", "beyond the end of a row", bytes_of=("fc.bitmask", 37, b"\x80")),
    Damage("the shape beside it", "'fc.shape' does not fit", bytes_of=("fc.shape", 0, b"\x05")),
    Damage("the offsets", "'fc.row_offsets' does not fit", bytes_of=("fc.row_offsets", 0, b"\x01")),
]


def damaged(content: bytes, damage: Damage) -> bytes:
    layout = layout_of(content)
    metadata = dict(layout.metadata)
    if damage.metadata is not None:
        metadata[PACKED_KEY] = damage.metadata
    left = [entry for entry in layout.tensors if entry.name != damage.drop]
    header, _ = build([(entry.name, entry.dtype, entry.shape) for entry in left], metadata)
    parts = {entry.name: bytearray(part_of(content, entry.name)) for entry in left}
    if damage.bytes_of is not None:
        name, begin, data = damage.bytes_of
        parts[name][begin : begin + len(data)] = data
    return header + b"".join(parts.values())


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.id)
def test_damaged_file_is_refused_in_a_sentence(tmp_path: Path, damage: Damage) -> None:
    row = floats(*[0.0] * 299, 1.0)  # the last bit of each row's mask is 0x08 of its byte 37
    content = packed(tmp_path, checkpoint({"fc.weight": (F32, (4, 300), row * 4)})).read_bytes()
    path = written(tmp_path / "damaged", damaged(content, damage))
    with pytest.raises(CheckpointError, match=damage.says) as refused:
        unpack_file(path, tmp_path / "out")
    assert refused.value.reason == Reason.INVALID_PACKED
    assert str(path) in str(refused.value)
    assert not (tmp_path / "out").exists()


PEAK = """
import resource, sys
from pruning_client import pack_file, unpack_file
from pruning_proto.packed import codec as packed_arrays
begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pack_file(sys.argv[1], sys.argv[2])
unpack_file(sys.argv[2], sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read in KiB, as Linux gives it")
def test_memory_is_that_of_a_few_pieces_whatever_the_size_of_the_file(tmp_path: Path) -> None:
    data = sparse((4096, 1024), 0.5)
    content = checkpoint({f"{number}.weight": (F32, (4096, 1024), data) for number in range(8)})
    path = written(tmp_path / "dense", content)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, path, tmp_path / "packed"], capture_output=True, text=True, check=True
    )
    assert path.read_bytes() == content
    assert int(done.stdout) * 1024 < len(content) / 4


def test_packed_file_is_read_as_what_it_was_made_of(tmp_path: Path) -> None:
    content = checkpoint({"fc.weight": (F32, (64, 64), sparse((64, 64)))}, {"format": "pt"})
    source = PackedSource(FileSource(packed(tmp_path, content)))
    assert source.header + b"".join(map(bytes, source.pieces())) == content
