"""safetensors files: read without a copy, and pickles refused."""

import pickle
from pathlib import Path

import pytest
import torch

from pruning_engine import CheckpointError, Reason
from pruning_engine.checkpoints.files import load, save


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    state_dict = {"b": torch.arange(6.0).view(2, 3).t(), "a": torch.tensor([], dtype=torch.bfloat16)}
    save(state_dict, tmp_path / "m.safetensors", {"format": "pt"})
    checkpoint = load(tmp_path / "m.safetensors")
    assert torch.equal(checkpoint.state_dict["b"], state_dict["b"])
    assert checkpoint.state_dict["a"].dtype is torch.bfloat16
    assert checkpoint.metadata == {"format": "pt"}


def test_tied_tensors_are_written_under_each_name(tmp_path: Path) -> None:
    tied = torch.ones(2)
    save({"a": tied, "b": tied}, tmp_path / "m.safetensors")
    assert sorted(load(tmp_path / "m.safetensors").state_dict) == ["a", "b"]


def test_writing_to_a_loaded_tensor_leaves_the_file_alone(tmp_path: Path) -> None:
    save({"a": torch.ones(2)}, tmp_path / "m.safetensors")
    load(tmp_path / "m.safetensors").state_dict["a"].zero_()
    assert load(tmp_path / "m.safetensors").state_dict["a"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "pickle"])
def test_a_pickle_is_refused_with_what_to_do(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(pickle.dumps({"a": 1}))
    if zipped:
        torch.save({"a": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="save_file") as caught:
        load(path)
    assert caught.value.reason is Reason.INVALID_HEADER


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save({"a": torch.ones(20)}, path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="cut short"):
        load(path)
