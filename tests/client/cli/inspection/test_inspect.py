"""`prune inspect`: models in one file or several, what was done to them, and the largest tensors."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

RANDOM = ("--method", "random_unstructured", "--amount", "2", "--seed", "7")


def prune(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, text=True, check=False
    )


def told(*words: str | Path) -> dict[str, Any]:
    """What a command prints for programs."""
    done = prune(*words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    value: dict[str, Any] = json.loads(done.stdout)
    return value


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tensors = {"a.weight": np.eye(4, dtype=np.float32), "b.weight": np.ones((2, 2), np.float32)}
    save_file(tensors, tmp_path / "in.safetensors")
    return tmp_path / "in.safetensors"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """The index of a model in two files, in a folder of their own."""
    folder = tmp_path / "model"
    folder.mkdir()
    places = {"a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.safetensors"}
    for name, place in places.items():
        save_file({name: np.eye(4, dtype=np.float32)}, folder / place)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder / "model.safetensors.index.json"


def test_totals_are_in_the_json(file: Path) -> None:
    assert told("inspect", file)["totals"] == {
        "tensors": 2,
        "entries": 20,
        "zeros": 12,
        "bytes": file.stat().st_size,
        "sparsity": 0.6,
    }


def test_shards_are_one_model(shards: Path) -> None:
    model = told("inspect", shards)
    assert model["totals"]["zeros"] == 24
    assert [Path(name).name for name in model["files"]] == [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]


def test_folder_of_a_model_is_its_weights(shards: Path) -> None:
    assert told("inspect", shards.parent)["tensors"] == told("inspect", shards)["tensors"]


def test_tensors_of_a_pipeline_are_named_by_component(file: Path) -> None:
    folder = file.parent / "unet"
    folder.mkdir()
    file.rename(folder / "diffusion_pytorch_model.safetensors")
    (folder.parent / "model_index.json").write_text('{"unet": ["diffusers", "UNet2DModel"]}')
    names = {tensor["name"] for tensor in told("inspect", folder.parent)["tensors"]}
    assert names == {"unet.a.weight", "unet.b.weight"}


def test_folder_with_one_file_needs_no_config(file: Path) -> None:
    assert told("inspect", file.parent)["totals"]["tensors"] == 2


@pytest.mark.parametrize(("count", "message"), [(0, "no safetensors file"), (2, "x0.safetensors, x1.safetensors")])
def test_folder_without_one_model_is_refused(tmp_path: Path, count: int, message: str) -> None:
    for number in range(count):
        save_file({"w": np.ones(1, np.float32)}, tmp_path / f"x{number}.safetensors")
    done = prune("inspect", tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def test_missing_shard_is_refused(shards: Path) -> None:
    (shards.parent / "model-00002-of-00002.safetensors").unlink()
    done = prune("inspect", shards)
    assert done.returncode == 2
    assert "model-00002-of-00002.safetensors: No such file or directory" in done.stderr


def test_history_says_what_was_done(file: Path) -> None:
    out = file.with_name("out")
    assert prune("run", file, "-o", out, *RANDOM, "--global", "--include", "a.*").returncode == 0
    assert prune("run", out, "-o", out, "--n-of-m", "1:2").returncode == 0
    first, second = told("inspect", out)["history"]
    rule = {"method": "random_unstructured", "amount": {"count": 2}, "scope": "global", "include": ["a.*"]}
    assert first["recipe"] == {"rules": [rule], "seed": "7"}
    assert second["recipe"]["rules"] == [{"method": "n_of_m", "score": "magnitude", "n": 1, "m": 2}]


def test_history_is_printed_below_the_table(file: Path) -> None:
    out = file.with_name("out")
    assert prune("run", file, "-o", out, *RANDOM).returncode == 0
    last = prune("inspect", out).stdout.splitlines()[-1]
    assert last.startswith("round 1, version ")
    assert last.endswith("random_unstructured, amount 2 (a count), scope local, seed 7")


@pytest.mark.parametrize(
    "words",
    [["inspect"], ["run", *RANDOM, "--dry-run"], ["run", *RANDOM, "--plan"]],
    ids=["inspect", "dry run", "plan"],
)
def test_top_shows_the_largest_and_the_totals_of_all(file: Path, words: list[str]) -> None:
    done = prune(words[0], file, *words[1:], "--top", "1")
    lines = done.stdout.splitlines()
    assert lines[2].startswith("a.weight")
    assert not any(line.startswith("b.weight") for line in lines)
    assert "2 tensors" in done.stdout
    assert "the 1 largest of 2 tensors; without --top all are shown" in lines


def test_top_of_nothing_is_refused(file: Path) -> None:
    done = prune("inspect", file, "--top", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--top: this is a count of 1 or more; got '0'" in done.stderr
