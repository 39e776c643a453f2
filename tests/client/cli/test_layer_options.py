"""`prune run --drop-layers` and `--keep-layers` on a model with several stacks of layers: in this process."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pruning_client.cli import main

SHAPES = {"q.weight": (4, 4), "o.weight": (4, 4), "norm.weight": (4,)}
STACKS = {"vision.layers": 2, "model.layers": 3}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    layers = [f"{stack}.{at}" for stack, count in STACKS.items() for at in range(count)]
    tensors = {f"{layer}.{name}": torch.ones(shape) for layer in layers for name, shape in SHAPES.items()}
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def run(model: Path, *options: str) -> int:
    try:
        return main.run(["run", str(model), "-o", str(model.with_name("out.safetensors")), *options])
    except SystemExit as end:  # of argparse
        return int(str(end.code))


@pytest.mark.parametrize(
    ("options", "left"),
    [
        pytest.param(["--drop-layers", "model.layers=0-1"], (2, 1), id="drop"),
        pytest.param(["--keep-layers", "model.layers=2"], (2, 1), id="keep"),
        pytest.param(["--drop-layers", "model.layers=0", "--drop-layers", "vision.layers=1"], (1, 2), id="both"),
    ],
)
def test_layers_of_named_stacks_are_removed(model: Path, options: list[str], left: tuple[int, int]) -> None:
    assert run(model, *options) == 0
    names = load_file(model.with_name("out.safetensors"))
    assert tuple(sum(f"{stack}.{at}.norm.weight" in names for at in range(3)) for stack in STACKS) == left


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--drop-layers", "1"], "'model.layers' (3 layers), 'vision.layers' (2 layers)", id="no stack"),
        pytest.param(["--drop-layers", "1", "--drop-layers", "model.layers=1"], "STACK=LIST", id="with and without"),
        pytest.param(["--drop-layers", "text.layers=1"], "has no group 'text.layers'", id="an unknown stack"),
    ],
)
def test_stacks_that_are_not_clear_are_refused(
    model: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, *options) == 2
    assert message in capsys.readouterr().err
