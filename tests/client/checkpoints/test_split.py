"""A result split into files: each tensor is in the file that is asked for, under the name that it has there."""

import json
from pathlib import Path

import pytest

from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.shards import ShardsSource
from pruning_client.checkpoints.split import Place, SplitFiles, shards_by_size, write_index
from pruning_client.checkpoints.weight_files import WeightNames
from pruning_proto.safetensors.header import Layout, build
from tests.client.tiny_files import floats

_, ABC = build([(name, "F32", (2,)) for name in "abc"], {"format": "pt"})
CONTENT = floats(0, 0, 1, 1, 2, 2)


def split(folder: Path, layout: Layout, places: dict[str, Place], content: bytes, piece: int = 100) -> SplitFiles:
    """Write a result in pieces of this size."""
    files = SplitFiles(folder, lambda *_: places)
    files.begin(layout)
    for begin in range(0, len(content), piece):
        files.write(content[begin : begin + piece])
    files.finish()
    return files


def in_files(**files: str) -> dict[str, Place]:
    return {name: Place(f"{file}.safetensors", name) for name, file in files.items()}


@pytest.mark.parametrize("piece", [1, 3, 8, 100])
def test_each_tensor_goes_to_its_file(tmp_path: Path, piece: int) -> None:
    split(tmp_path, ABC, in_files(a="x", b="y", c="x"), CONTENT, piece)
    file = FileSource(tmp_path / "x.safetensors")
    assert [entry.name for entry in file.layout.tensors] == ["a", "c"]
    assert b"".join(map(bytes, file.pieces())) == floats(0, 0, 2, 2)
    assert file.layout.metadata == {"format": "pt"}


def test_tensors_have_other_names_in_folders(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    places = {name: Place("unet/w.safetensors", f"new.{name}") for name in "abc"}
    files = split(tmp_path, ABC, places, CONTENT)
    assert [entry.name for entry in files.contents["unet/w.safetensors"]] == ["new.a", "new.b", "new.c"]


def test_tensors_are_aligned_in_their_files(tmp_path: Path) -> None:
    _, layout = build([("odd", "U8", (3,)), ("other", "U8", (1,)), ("w", "F32", (1,))], {})
    split(tmp_path, layout, in_files(odd="x", other="y", w="x"), b"abcd" + floats(1))
    file = FileSource(tmp_path / "x.safetensors")
    assert [(entry.name, entry.begin) for entry in file.layout.tensors] == [("w", 0), ("odd", 4)]
    assert b"".join(map(bytes, file.pieces())) == floats(1) + b"abc"


def test_files_are_written_anew_for_another_attempt(tmp_path: Path) -> None:
    files = SplitFiles(tmp_path, lambda *_: in_files(a="x", b="y", c="x"))
    for content in (floats(9, 9, 9), CONTENT):
        files.begin(ABC)
        files.write(content)
        files.finish()
    assert b"".join(map(bytes, FileSource(tmp_path / "x.safetensors").pieces())) == floats(0, 0, 2, 2)


def test_index_names_the_files_and_has_new_totals(tmp_path: Path) -> None:
    files = split(tmp_path, ABC, in_files(a="x", b="y", c="x"), CONTENT)
    write_index(tmp_path, WeightNames(), files.contents, {"total_parameters": 99, "note": "x"})
    index = tmp_path / "model.safetensors.index.json"
    assert json.loads(index.read_text())["metadata"] == {"note": "x", "total_size": 24, "total_parameters": 6}
    assert len(ShardsSource(index).layout.tensors) == 3


@pytest.mark.parametrize(("most_bytes", "shards"), [(8, [0, 1, 2]), (16, [0, 0, 1]), (24, [0, 0, 0]), (1, [0, 1, 2])])
def test_shards_have_at_most_a_size(most_bytes: int, shards: list[int]) -> None:
    assert list(shards_by_size(ABC.tensors, most_bytes).values()) == shards


def test_file_that_cannot_be_synced_is_named(tmp_path: Path) -> None:
    """It is synced while the next file is written, and the error comes at the end."""
    (tmp_path / "x.safetensors").symlink_to("/dev/null")  # takes all writes, and refuses to be synced
    with pytest.raises(OSError, match=r"x\.safetensors"):
        split(tmp_path, ABC, in_files(a="x", b="y", c="y"), CONTENT)
    assert (tmp_path / "y.safetensors").stat().st_size > len(floats(1, 1, 2, 2))
