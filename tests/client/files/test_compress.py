"""Compressed packed files: equal by bits when they are unpacked, smaller, and refused where they are damaged."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruning_client import pack_file, unpack_file
from pruning_client.checkpoints.compressed import CompressedSource
from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.opened import open_source
from pruning_client.errors import CheckpointError
from pruning_client.models.compared_models import compare_models
from pruning_client.models.inspect import inspect_file
from pruning_client.models.measured import measure
from pruning_client.numpy import load_packed as load_arrays
from pruning_client.torch import load_packed
from pruning_proto.names import ZSTD_KEY
from pruning_proto.packed.format import ENTRIES
from pruning_proto.packed.frames import PREFIX
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.dtypes import DTYPE_BITS
from pruning_proto.safetensors.header import build, parse
from tests.client.tiny_files import F32, checkpoint, floats, written

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]


def compressed(folder: Path, content: bytes, *, canonical_zero: bool = False) -> Path:
    dense = written(folder / "dense", content)
    pack_file(dense, folder / "packed", canonical_zero=canonical_zero, compression="zstd")
    return folder / "packed"


def unpacked(path: Path) -> bytes:
    unpack_file(path, path.with_name("unpacked"))
    return path.with_name("unpacked").read_bytes()


def zeros_of(path: Path) -> list[tuple[str, str, tuple[int, ...], int, int | None]]:
    return [(one.name, one.dtype, one.shape, one.entries, one.zeros) for one in inspect_file(path)]


@st.composite
def any_tensors(draw: st.DrawFn) -> Tensors:
    """Tensors of any dtype and shape, with many zeros and some negative ones."""
    found: Tensors = {}
    for name in draw(st.lists(st.sampled_from(["a", "a.weight", "b.bits", "c"]), unique=True)):
        dtype = draw(st.sampled_from(sorted(DTYPE_BITS)))
        shape = tuple(draw(st.lists(st.integers(0, 9), max_size=3)))
        bits = int(np.prod(shape, dtype=int)) * DTYPE_BITS[dtype]
        if bits % 8:
            shape, bits = (8, *shape), 8 * bits
        data = draw(st.lists(st.sampled_from([0, 0, 0, 128, 1, 255]), min_size=bits // 8, max_size=bits // 8))
        found[name] = (dtype, shape, bytes(data))
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tensors=any_tensors())
def test_unpacking_returns_the_same_bytes_and_zeros(tensors: Tensors, tmp_path: Path) -> None:
    content = checkpoint(tensors, {"key": "value"})
    packed = compressed(tmp_path, content)
    assert unpacked(packed) == content
    assert zeros_of(packed) == zeros_of(tmp_path / "dense")


@pytest.mark.parametrize(("sparsity", "most"), [(0.5, 0.46), (0.9, 0.115)])
def test_pruned_bf16_takes_what_was_promised(tmp_path: Path, sparsity: float, most: float) -> None:
    weights = torch.randn(1024, 1024, generator=torch.Generator().manual_seed(0)) * 0.02
    cut = weights.abs().flatten().kthvalue(int(sparsity * weights.numel())).values
    pruned = torch.where(weights.abs() <= cut, 0.0, weights).bfloat16()
    content = checkpoint({"w.weight": ("BF16", (1024, 1024), pruned.view(torch.uint8).numpy().tobytes())})
    packed = compressed(tmp_path, content)
    assert packed.stat().st_size < most * len(content)
    assert unpacked(packed) == content


def test_several_pieces_are_several_frames(tmp_path: Path) -> None:
    values = np.zeros(2 * ENTRIES + 5, np.float32)
    values[::7] = np.arange(len(values[::7]))
    content = checkpoint({"w": (F32, values.shape, values.tobytes()), "x": (F32, (2,), floats(1, 0))})
    packed = compressed(tmp_path, content)
    assert unpacked(packed) == content
    assert zeros_of(packed) == zeros_of(tmp_path / "dense")
    source = CompressedSource(FileSource(packed))
    end = source.layout.buffer_bytes
    ranges = [(0, 4), (4 * ENTRIES - 2, 4 * ENTRIES + 2), (end - 8, end)]
    found = b"".join(bytes(piece) for piece in source.pieces(ranges))
    assert found == b"".join(content[len(content) - end + begin : len(content) - end + last] for begin, last in ranges)


def test_negative_zeros_become_canonical_where_asked(tmp_path: Path) -> None:
    content = checkpoint({"w": (F32, (4,), floats(-0.0, 1.0, -0.0, 0.0))})
    dense = written(tmp_path / "dense", content)
    result = pack_file(dense, tmp_path / "packed", canonical_zero=True, compression="zstd")
    assert result.negative_zeros == 2
    assert unpacked(tmp_path / "packed") == checkpoint({"w": (F32, (4,), floats(0.0, 1.0, 0.0, 0.0))})


def test_compressed_file_is_read_like_the_dense_one(tmp_path: Path) -> None:
    content = checkpoint({"w.weight": (F32, (2, 3), floats(1, 0, 0, 0, 2, 0))})
    packed = compressed(tmp_path, content)
    assert b"".join(map(bytes, open_source(packed).pieces())) == content[-24:]
    assert load_arrays(packed)["w.weight"].tolist() == [[1, 0, 0], [0, 2, 0]]
    assert load_packed(packed)["w.weight"].tolist() == [[1, 0, 0], [0, 2, 0]]
    assert compare_models(packed, tmp_path / "dense").is_equal
    assert measure(packed).tensors == measure(tmp_path / "dense").tensors


def test_file_may_replace_itself(tmp_path: Path) -> None:
    content = checkpoint({"w": (F32, (100,), bytes(400))})
    file = written(tmp_path / "file", content)
    pack_file(file, file, compression="zstd")
    assert file.stat().st_size < len(content)
    unpack_file(file, file)
    assert file.read_bytes() == content


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_packed_file_is_not_packed_again(tmp_path: Path, compression: None) -> None:
    packed = compressed(tmp_path, checkpoint({"w": (F32, (100,), bytes(400))}))
    with pytest.raises(CheckpointError) as caught:
        pack_file(packed, tmp_path / "again", compression=compression)
    assert caught.value.reason == Reason.PACKED_INPUT
    assert not (tmp_path / "again").exists()


def test_another_compression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'zstd' or None, got 'gzip'"):
        pack_file(tmp_path / "in", tmp_path / "out", compression="gzip")  # type: ignore[arg-type]


# Damaged and hostile files.

VALUES = floats(1.0, 0.0, 0.0, 2.0) * 64
"""256 entries, half of them stored."""


def framed(prefix: tuple[int, int, int] | None, frame: bytes, *, dense: object = None, rest: bytes = b"") -> bytes:
    """A file of one tensor `w`, F32 of 256 entries unless `dense` says otherwise, with this prefix and frame."""
    data = PREFIX.pack(*(prefix or (len(frame), 128, 0))) + frame + rest
    about = json.dumps({"w": ["F32", [256]]} if dense is None else dense)
    header, _ = build([("w", "U8", (len(data),))], {ZSTD_KEY: about})
    return header + data


def sound() -> bytes:
    """What a frame holds for VALUES: a mask, then the stored entries by planes."""
    entries = np.frombuffer(VALUES, np.uint32)
    kept = entries[entries != 0].view(np.uint8).reshape(-1, 4).T
    mask: bytes = np.packbits(entries != 0, bitorder="little").tobytes()
    values: bytes = kept.tobytes()
    return mask + values


def squeezed(content: bytes, **options: int) -> bytes:
    parameters: dict[int, int] = {zstd.CompressionParameter[name]: value for name, value in options.items()}
    found: bytes = zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1} | parameters)
    return found


def flipped(frame: bytes) -> bytes:
    return frame[:-5] + bytes([frame[-5] ^ 1]) + frame[-4:]


def test_what_the_tests_damage_is_sound(tmp_path: Path) -> None:
    packed = written(tmp_path / "packed", framed(None, squeezed(sound())))
    assert unpacked(packed).endswith(VALUES)


BOMB = squeezed(bytes(1 << 28))
SHORT = squeezed(sound()[:-4])
WIDE = squeezed(sound(), window_log=27)

HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a bomb of 256 MiB": (lambda: framed(None, BOMB), r"bytes cannot hold|does not hold the 544 bytes"),
    "a bomb that is as short as a frame may be": (
        lambda: framed(None, squeezed(bytes(1 << 23))),
        "does not hold the 544 bytes",
    ),
    "a frame with less": (lambda: framed(None, SHORT), "does not hold the 544 bytes"),
    "two frames": (lambda: framed(None, squeezed(sound()) + squeezed(b"x")), "does not hold"),
    "half a frame": (lambda: framed(None, squeezed(sound())[:-9]), "does not hold"),
    "no zstd": (lambda: framed(None, b"no frame at all"), "does not decompress"),
    "a flipped bit": (lambda: framed(None, flipped(squeezed(sound()))), "does not decompress"),
    "more stored than there are": (lambda: framed((20, 257, 0), bytes(20)), "256 entries cannot store 257"),
    "a frame larger than what it holds": (
        lambda: framed((70_000, 128, 0), bytes(70_000)),
        "a frame of 70,000 bytes cannot hold 544 bytes",
    ),
    "a frame that ends behind the tensor": (lambda: framed((90, 128, 0), bytes(40)), "ends before its last frame does"),
    "no frame for stored entries": (lambda: framed((0, 128, 0), b""), "a frame of 0 bytes cannot hold"),
    "too many zeros": (lambda: framed((20, 128, 2**31), bytes(20)), "cannot store"),
    "what follows the last frame": (lambda: framed(None, squeezed(sound()), rest=b"x"), "something follows"),
    "fewer frames than pieces": (
        lambda: framed(None, squeezed(sound()), dense={"w": ["F32", [2**21]]}),
        "bytes cannot hold|ends before its last frame|does not hold",
    ),
    "a mask of other entries": (
        lambda: framed(None, squeezed(b"\xff" * 8 + sound()[8:])),
        "a mask does not mark as many entries as are stored",
    ),
    "a size that is no number": (lambda: framed(None, b"", dense={"w": ["F32", [True]]}), "must have a dtype"),
    "an unknown dtype": (lambda: framed(None, b"", dense={"w": ["F31", [1]]}), "must have a dtype and a shape"),
    "too many entries to count": (lambda: framed(None, b"", dense={"w": ["F32", [2**62, 2**62]]}), "tensor 'w'"),
    "another name": (lambda: framed(None, b"", dense={"v": ["F32", [1]]}), "tensor 'v' is missing"),
    "a tensor that is not listed": (lambda: framed(None, b"", dense={}), "'w' is not listed"),
    "a list": (lambda: framed(None, b"", dense=[1]), "must have an object"),
    "deep JSON": (lambda: framed(None, b"", dense=json.loads("[" * 400 + "]" * 400)), "must have an object"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_file_is_refused(tmp_path: Path, case: str) -> None:
    content, message = HOSTILE[case]
    packed = written(tmp_path / "packed", content())
    with pytest.raises(CheckpointError, match=message) as caught:
        unpack_file(packed, tmp_path / "out")
    assert caught.value.reason == Reason.INVALID_PACKED
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "case", [case for case in HOSTILE if "stored" in case or "ends" in case or "follows" in case or "another" in case]
)
def test_hostile_file_is_not_inspected(tmp_path: Path, case: str) -> None:
    content, message = HOSTILE[case]
    with pytest.raises(CheckpointError, match=message):
        list(inspect_file(written(tmp_path / "packed", content())))


def test_frame_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    # Written by hand: no content size, a window of 2 GiB, and one empty last block.
    frame = struct.pack("<IBB", 0xFD2FB528, 0b0000_0000, (31 - 10) << 3) + b"\x01\x00\x00"
    packed = written(tmp_path / "packed", framed(None, frame))
    with pytest.raises(CheckpointError, match="does not decompress"):
        unpack_file(packed, tmp_path / "out")


def test_dense_file_that_does_not_fit_the_disk_is_refused(tmp_path: Path) -> None:
    packed = written(tmp_path / "packed", framed(None, squeezed(sound()), dense={"w": ["F32", [2**50]]}))
    with pytest.raises(OSError, match="free some"):
        unpack_file(packed, tmp_path / "out")


def test_bomb_takes_no_more_memory_than_a_piece(tmp_path: Path) -> None:
    packed = written(tmp_path / "packed", framed((len(BOMB), 128, 0), BOMB))
    script = (
        "import resource, sys\n"
        "from pruning_client import unpack_file\n"
        "from pruning_proto.packed import frame_codec\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    unpack_file(sys.argv[1], sys.argv[1] + '.out')\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 64 * 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(packed)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["CheckpointError", "True"]


def test_header_is_written_with_room_and_is_valid(tmp_path: Path) -> None:
    content = compressed(tmp_path, checkpoint({"w": (F32, (256,), VALUES)})).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    layout = parse(content[8 : 8 + length])
    assert layout.total_bytes == len(content)
    assert json.loads(layout.metadata[ZSTD_KEY]) == {"w": ["F32", [256]]}


def test_command_line_compresses_and_restores(tmp_path: Path) -> None:
    content = checkpoint({"w.weight": (F32, (16, 16), VALUES)})
    written(tmp_path / "in", content)
    for words in (["pack", "in", "-o", "small", "--zstd", "--json"], ["unpack", "small", "-o", "out"]):
        command = [sys.executable, "-m", "pruning_client", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == content
    assert (tmp_path / "small").stat().st_size < len(content)
