"""A checkpoint in several files, read as one, and indexes that do not say what is there."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pruning_client import Client, rules
from pruning_client.checkpoints.shards import ShardsSource
from pruning_client.errors import CheckpointError
from tests.servers import ServerProcess

INDEX = "model.safetensors.index.json"
FIRST = {"a.weight": torch.tensor([[1.0, -4.0], [3.0, -2.0]]), "a.bias": torch.ones(3, dtype=torch.float16)}
SECOND = {"b.weight": torch.tensor([[8.0, 5.0]])}
WHERE = {"a.weight": "one.safetensors", "a.bias": "one.safetensors", "b.weight": "two.safetensors"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file(FIRST, tmp_path / "one.safetensors", {"format": "pt"})
    save_file(SECOND, tmp_path / "two.safetensors", {"format": "pt"})
    return tmp_path


def index(folder: Path, where: object) -> Path:
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 30}, "weight_map": where}))
    return folder / INDEX


def test_shards_are_one_file(folder: Path) -> None:
    source = ShardsSource(index(folder, WHERE))
    written = folder / "whole.safetensors"
    written.write_bytes(source.header + b"".join(bytes(piece) for piece in source.pieces()))
    assert {name: tensor.tolist() for name, tensor in load_file(written).items()} == {
        name: tensor.tolist() for name, tensor in (FIRST | SECOND).items()
    }
    assert source.layout.metadata == {"format": "pt"}


def test_index_is_pruned_into_one_file(server: ServerProcess, folder: Path) -> None:
    with Client(server.address) as client:
        out = folder / "out.safetensors"
        client.prune_file(index(folder, WHERE), out, rules.l1_unstructured(0.5, scope="global"))
    assert load_file(out)["a.weight"].tolist() == [[0.0, -4.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        pytest.param({}, "must name files of the same folder", id="nothing"),
        pytest.param([1], "has no `weight_map`", id="list"),
        pytest.param(WHERE | {"a.bias": "../one.safetensors"}, "files of the same folder", id="other folder"),
        pytest.param(WHERE | {"a.bias": "two.safetensors"}, "'a.bias' is in two.safetensors; it is in one", id="moved"),
        pytest.param(WHERE | {"c": "two.safetensors"}, "'c' is in two.safetensors; it is in none", id="missing"),
        pytest.param({"b.weight": "two.safetensors", "a.bias": "one.safetensors"}, "'a.weight' is in no", id="unsaid"),
    ],
)
def test_index_that_does_not_say_what_is_there_is_refused(folder: Path, where: object, wrong: str) -> None:
    with pytest.raises(CheckpointError, match=wrong):
        ShardsSource(index(folder, where))


def test_tensor_in_two_files_is_refused(folder: Path) -> None:
    save_file(SECOND | {"a.bias": FIRST["a.bias"]}, folder / "two.safetensors")
    with pytest.raises(CheckpointError, match="a tensor is in two of its files"):
        ShardsSource(index(folder, WHERE))


def test_file_that_is_missing_is_named(folder: Path) -> None:
    (folder / "two.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"two\.safetensors"):
        ShardsSource(index(folder, WHERE))
