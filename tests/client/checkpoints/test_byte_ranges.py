"""Ranges of bytes that are read where others are left out."""

import json
from pathlib import Path

import numpy as np
import pytest

from pruning_client.checkpoints.byte_ranges import ByteRanges, other_ranges, ranges_within
from pruning_client.checkpoints.file import FileSource, Source
from pruning_client.checkpoints.shards import ShardsSource
from pruning_client.checkpoints.state_dict import StateDictSource
from tests.client.tiny_files import checkpoint, written

CONTENT = bytes(range(12))
RANGES = [
    pytest.param([], id="nothing"),
    pytest.param([(0, 12)], id="everything"),
    pytest.param([(0, 1), (3, 9), (11, 12)], id="over tensors"),
    pytest.param([(4, 4), (5, 6)], id="an empty one"),
]


def file(folder: Path, name: str, first: int, sizes: tuple[int, ...]) -> Path:
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
    at = first
    for size in sizes:
        tensors[f"t{at}"] = ("U8", (size,), CONTENT[at : at + size])
        at += size
    return written(folder / name, checkpoint(tensors))


def sources(folder: Path) -> dict[str, Source]:
    one = file(folder, "one.safetensors", 0, (4, 5, 3))
    names = {"t0": "a.safetensors", "t4": "a.safetensors", "t9": "b.safetensors"}
    file(folder, "a.safetensors", 0, (4, 5))
    file(folder, "b.safetensors", 9, (3,))
    index = written(folder / "x.safetensors.index.json", json.dumps({"weight_map": names}).encode())
    arrays = {f"t{at}": np.frombuffer(CONTENT[at:end], np.uint8) for at, end in ((0, 4), (4, 9), (9, 12))}
    return {"file": FileSource(one), "shards": ShardsSource(index), "arrays": StateDictSource(arrays)}


@pytest.mark.parametrize("ranges", RANGES)
@pytest.mark.parametrize("kind", ["file", "shards", "arrays"])
def test_source_returns_the_ranges_alone(tmp_path: Path, kind: str, ranges: ByteRanges) -> None:
    found = b"".join(map(bytes, sources(tmp_path)[kind].pieces(ranges)))
    assert found == b"".join(CONTENT[begin:end] for begin, end in ranges)


def test_shard_without_needed_bytes_is_not_opened(tmp_path: Path) -> None:
    shards = sources(tmp_path)["shards"]
    (tmp_path / "b.safetensors").unlink()
    assert b"".join(map(bytes, shards.pieces([(1, 8)]))) == CONTENT[1:8]


@pytest.mark.parametrize("ranges", RANGES)
def test_other_ranges_are_what_is_between(ranges: ByteRanges) -> None:
    others = {byte for begin, end in other_ranges(ranges, 12) for byte in range(begin, end)}
    assert others == set(range(12)) - {byte for begin, end in ranges for byte in range(begin, end)}


def test_ranges_are_counted_from_where_a_part_begins() -> None:
    assert ranges_within([(0, 3), (5, 9), (20, 21)], 2, 8) == [(0, 1), (3, 6)]
