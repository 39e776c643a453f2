"""A file split into shards: each tensor is in the shard that is asked for, and the index names them all."""

import json
from pathlib import Path

import pytest

from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.shards import ShardsSource
from pruning_client.checkpoints.split import shards_by_size, split_file, with_usual_names
from tests.client.tiny_files import F32, checkpoint, floats, written

INDEX = "model.safetensors.index.json"
CONTENT = checkpoint({name: (F32, (2,), floats(at, at)) for at, name in enumerate("abc")}, {"format": "pt"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "model.safetensors", CONTENT)


def test_shards_and_index_replace_the_file(file: Path) -> None:
    split_file(file, file.with_name(INDEX), {"a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors"}, {})
    assert sorted(path.name for path in file.parent.iterdir()) == ["1.safetensors", "2.safetensors", INDEX]
    source = ShardsSource(file.with_name(INDEX))
    assert b"".join(map(bytes, source.pieces())) == floats(0, 0, 2, 2, 1, 1)
    assert FileSource(file.with_name("1.safetensors")).layout.metadata == {"format": "pt"}


def test_index_has_the_new_totals(file: Path) -> None:
    split_file(
        file, file.with_name(INDEX), dict.fromkeys("abc", "1.safetensors"), {"total_parameters": 99, "note": "x"}
    )
    index = json.loads(file.with_name(INDEX).read_text())
    assert index["metadata"] == {"note": "x", "total_size": 24, "total_parameters": 6}


def test_folded_pair_is_in_the_shard_of_its_weight(file: Path) -> None:
    split_file(file, file.with_name(INDEX), {"a_orig": "1.safetensors", "b": "2.safetensors", "c": "2.safetensors"}, {})
    assert [entry.name for entry in FileSource(file.with_name("1.safetensors")).layout.tensors] == ["a"]


@pytest.mark.parametrize(("most_bytes", "counts"), [(8, [1, 1, 1]), (16, [2, 1]), (24, [3]), (1, [1, 1, 1])])
def test_shards_have_at_most_a_size(file: Path, most_bytes: int, counts: list[int]) -> None:
    shards = list(shards_by_size(file, most_bytes).values())
    names = [f"model-{at + 1:05}-of-{len(counts):05}.safetensors" for at in range(len(counts))]
    assert [shards.count(name) for name in names] == counts


def test_shards_get_their_usual_names() -> None:
    usual = with_usual_names({"a": "model.safetensors-2", "b": "model.safetensors-1", "c": "model.safetensors-2"})
    assert usual == {
        "a": "model-00002-of-00002.safetensors",
        "b": "model-00001-of-00002.safetensors",
        "c": "model-00002-of-00002.safetensors",
    }
