"""Files of `torch.save` become safetensors files."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, load_model

from pruning_client.errors import CheckpointError
from pruning_client.files.convert import convert_file
from pruning_client.frameworks import torch as adaptor
from pruning_proto.reasons import Reason

WEIGHTS = {"fc.weight": torch.arange(6.0).view(2, 3), "fc.bias": torch.ones(2, dtype=torch.bfloat16)}


class Tied(torch.nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Linear(3, 3, bias=False)
        self.two = torch.nn.Linear(3, 3, bias=False)
        self.two.weight = self.one.weight


def saved(path: Path, value: Any, *, is_zip: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=is_zip)
    return path


def prune(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize(
    ("value", "keys"),
    [
        pytest.param(WEIGHTS, (), id="state dict"),
        pytest.param({"epoch": 3, "state_dict": WEIGHTS, "optimizer": {}}, ("state_dict",), id="lightning"),
        pytest.param({"model": WEIGHTS, "args": [1]}, ("model",), id="model"),
        pytest.param({"model": {"state_dict": WEIGHTS}}, ("model", "state_dict"), id="nested twice"),
    ],
)
def test_state_dict_is_found(tmp_path: Path, value: Any, keys: tuple[str, ...], is_zip: bool) -> None:
    converted = convert_file(saved(tmp_path / "in.pt", value, is_zip=is_zip), tmp_path / "out")
    back = load_file(tmp_path / "out")
    assert converted.found_under == keys
    assert back.keys() == WEIGHTS.keys()
    assert all(torch.equal(back[name], WEIGHTS[name]) for name in WEIGHTS)


def test_shared_tensor_is_written_once_and_loads(tmp_path: Path) -> None:
    model, other = Tied(), Tied()
    converted = convert_file(saved(tmp_path / "in.bin", model.state_dict()), tmp_path / "out")
    assert converted.shared == {"two.weight": "one.weight"}
    assert list(load_file(tmp_path / "out")) == ["one.weight"]
    load_model(other, tmp_path / "out")
    assert torch.equal(other.two.weight, model.one.weight)


def test_result_has_a_format_and_is_aligned(tmp_path: Path) -> None:
    odd = {"flag": torch.ones(3, dtype=torch.bool), **WEIGHTS}
    convert_file(saved(tmp_path / "in.pth", odd), tmp_path / "out")
    with safe_open(tmp_path / "out", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert list(file.offset_keys()) == ["fc.weight", "fc.bias", "flag"]


def test_what_is_no_tensor_is_left_out_and_named(tmp_path: Path) -> None:
    converted = convert_file(saved(tmp_path / "in.pt", {**WEIGHTS, "version": 2}), tmp_path / "out")
    assert converted.left_out == ("version",)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(torch.nn.Linear(2, 2), "weights_only", id="a whole model"),
        pytest.param({"epoch": 3, "lr": 0.1}, "it has the keys 'epoch', 'lr'", id="no tensors"),
        pytest.param([torch.ones(2)], "not a dict", id="a list"),
    ],
)
def test_file_without_a_state_dict_is_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        convert_file(saved(tmp_path / "in.pt", value), tmp_path / "out")
    assert caught.value.reason == Reason.INVALID_HEADER
    assert not (tmp_path / "out").exists()


def test_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="Git LFS pointer"):
        convert_file(tmp_path / "in.bin", tmp_path / "out")


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "in.bin", WEIGHTS)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="damaged"):
        adaptor.read_weights(str(path))


def test_existing_file_is_replaced_only_with_force(tmp_path: Path) -> None:
    source, out = saved(tmp_path / "in.pt", WEIGHTS), tmp_path / "out"
    out.write_bytes(b"mine")
    refused = prune("convert", source, "-o", out)
    assert (refused.returncode, out.read_bytes()) == (2, b"mine")
    assert "--force" in refused.stderr
    done = prune("convert", source, "-o", out, "--force")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["2 tensors converted", f"wrote {out}"]
