"""`prune scan --plot`: the curves as a picture, written whole or not at all."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

BEGINNINGS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


def prune(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    chance = np.random.default_rng(0)
    names = ["_hidden.weight", "a$b$.weight", *(f"layers.{number}.weight" for number in range(9))]
    save_file({name: chance.standard_normal((8, 8), np.float32) for name in names}, tmp_path / "in")
    return tmp_path / "in"


@pytest.mark.parametrize("suffix", BEGINNINGS)
def test_curves_are_drawn(model: Path, suffix: str) -> None:
    picture = model.with_suffix(suffix)
    done = prune("scan", model, "--method", "l1_unstructured", "--plot", picture)
    assert (done.returncode, done.stderr) == (0, "")
    assert picture.read_bytes().startswith(BEGINNINGS[suffix])


def test_other_kinds_of_files_are_refused(model: Path) -> None:
    done = prune("scan", model, "--method", "l1_unstructured", "--plot", model.with_suffix(".jpg"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "this is a file ending in .png, .svg, .pdf" in done.stderr


def test_failed_scan_leaves_no_picture(model: Path) -> None:
    picture = model.with_suffix(".png")
    done = prune("scan", model, "--method", "l1_unstructured", "--include", "no.*", "--plot", picture)
    assert done.returncode == 2
    assert not picture.exists()
