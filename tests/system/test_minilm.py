"""The main job, end to end: half of a real model pruned globally by the command line, and the model still loads."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from scripts.demo import Tensors, claims_about, minilm
from tests.servers import ServerProcess

PRUNE = Path(sys.executable).with_name("prune")


@pytest.fixture(scope="module")
def before() -> Tensors:
    return load_file(minilm())


@pytest.fixture(scope="module")
def pruned(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's folder with its weights pruned."""
    folder = tmp_path_factory.mktemp("minilm")
    shutil.copy(minilm().parent / "config.json", folder)
    options = ["--method", "l1_unstructured", "--amount", "0.5", "--global", "--server", server.address]
    subprocess.run([PRUNE, "run", minilm(), "-o", folder / "model.safetensors", *options], check=True)
    return folder


def test_result_is_exactly_what_was_asked(before: Tensors, pruned: Path) -> None:
    claims = claims_about(before, load_file(pruned / "model.safetensors"))
    assert [claim for claim, holds in claims.items() if not holds] == []


def test_ties_at_the_cut_fall_by_name_and_index(before: Tensors, pruned: Path) -> None:
    """An oracle that sorts: stable, over the tensors by name, so that equal ones are pruned in that order."""
    after = load_file(pruned / "model.safetensors")
    names = sorted(name for name in before if (before[name] != after[name]).any())
    magnitudes = np.concatenate([np.abs(before[name]).ravel() for name in names])
    chosen = np.zeros(magnitudes.size, bool)
    chosen[np.argsort(magnitudes, kind="stable")[: round(0.5 * magnitudes.size)]] = True
    assert np.array_equal(np.concatenate([after[name].ravel() == 0 for name in names]), chosen)


def test_transformers_loads_it(pruned: Path) -> None:
    model = transformers.AutoModel.from_pretrained(pruned)
    weight = model.state_dict()["encoder.layer.0.attention.self.query.weight"]
    assert torch.count_nonzero(weight) < 0.9 * weight.numel()


def test_demo_runs_and_finds_nothing_wrong() -> None:
    done = subprocess.run([sys.executable, "-m", "scripts.demo"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\n  yes  ") == 5
