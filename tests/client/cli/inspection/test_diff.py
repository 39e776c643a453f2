"""`prune diff` and the orders and histograms of `prune inspect`: exit statuses, text and JSON."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from pruning_client.cli.inspection.diff_text import diff_text
from pruning_client.models.compared_models import compare_models

NAMES = [f"model.layers.{number}.mlp.up_proj.weight" for number in range(3)]


def prune(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A model of three tensors, and the same with more zeros in the later ones; one more is in the second only."""
    before = {name: np.full((4, 8), 0.5, np.float32) for name in NAMES}
    after = {name: tensor.copy() for name, tensor in before.items()}
    for number, name in enumerate(NAMES):
        after[name].reshape(-1)[: 8 * number] = 0
    save_file(before, tmp_path / "a.safetensors")
    save_file(after | {"new.bias": np.zeros(3, np.float32)}, tmp_path / "b.safetensors")
    return tmp_path / "a.safetensors", tmp_path / "b.safetensors"


def test_json_has_everything(files: tuple[Path, Path]) -> None:
    done = prune("diff", *files, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    value = json.loads(done.stdout)
    assert value["counts"] == {"equal": 1, "changed": 2, "dtype": 0, "shape": 0, "only_before": 0, "only_after": 1}
    assert (value["equal"], value["changed_entries"], value["changes_measured"]) == (False, 24, True)
    assert value["after"]["zeros"] == 27


def test_most_changed_tensor_comes_first(files: tuple[Path, Path]) -> None:
    lines = prune("diff", *files, "--top", "1").stdout.splitlines()
    assert lines[2].split() == [NAMES[2], "F32", "4x8", "32", "0.00%", "50.00%", "50.00%", "0.5", "0.707"]
    assert lines[4] == "1 of 2 tensors"
    assert lines[-1] == "1 of 4 tensors equal, bit for bit"


@pytest.mark.parametrize(("order", "shown"), [("name", NAMES[1]), ("zeros", NAMES[2]), ("file", NAMES[1])])
def test_order_can_be_chosen(files: tuple[Path, Path], order: str, shown: str) -> None:
    assert prune("diff", *files, "--sort", order, "--top", "1").stdout.splitlines()[2].startswith(shown)


def test_differences_can_set_the_exit_status(files: tuple[Path, Path]) -> None:
    assert prune("diff", files[0], files[0], "--exit-code").returncode == 0
    assert prune("diff", *files, "--exit-code").returncode == 1
    assert prune("diff", *files).returncode == 0


def test_file_that_is_none_is_refused(files: tuple[Path, Path]) -> None:
    bad = files[0].with_name("bad.safetensors")
    bad.write_bytes(b"no model at all, but long enough to have a header")
    for words in ([files[0], bad], [bad, files[0]], [files[0], "missing"], [files[0]]):
        done = prune("diff", *words)
        assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("width", [50, 80])
def test_tables_fit_narrow_terminals(files: tuple[Path, Path], width: int) -> None:
    lines = diff_text(compare_models(*files), width, order="change", top=None).splitlines()
    tables = [line for line in lines if not line.startswith("metadata")]
    assert max(map(len, tables)) <= width
    assert any(NAMES[2][-20:] in line and "50.00%" in line and "0.707" in line for line in tables)


def test_inspect_sorts_by_sparsity(files: tuple[Path, Path]) -> None:
    done = prune("inspect", files[1], "--sort", "sparsity", "--top", "2")
    assert [line.split()[0] for line in done.stdout.splitlines()[2:4]] == ["new.bias", NAMES[2]]
    assert "the first 2 of 4 tensors by sparsity; without --top all are shown" in done.stdout


def test_inspect_draws_how_weights_are_distributed(tmp_path: Path) -> None:
    save_file({"w": np.array([1, 1, 1, 1, -2, 4, 4, 0], np.float32), "n": np.arange(3)}, tmp_path / "a")
    done = prune("inspect", tmp_path / "a", "--histogram")
    rows = {line.split()[0]: line.split()[-1] for line in done.stdout.splitlines() if line}
    assert (rows["w"], rows["n"]) == ("█▂▄", "-")
    assert "|w| from 2^0 to 2^3, a bar for each factor of 2" in done.stdout


def test_histogram_is_in_the_json(tmp_path: Path) -> None:
    save_file({"w": np.array([1, 1.5, -2, 0], np.float32)}, tmp_path / "a")
    (tensor,) = json.loads(prune("inspect", tmp_path / "a", "--histogram", "--json").stdout)["tensors"]
    assert tensor["histogram"] == {"log2": {"0": 2, "1": 1}, "zeros": 1, "non_finite": 0}


def test_unknown_order_is_refused(files: tuple[Path, Path]) -> None:
    done = prune("inspect", files[0], "--sort", "colour")
    assert (done.returncode, done.stdout) == (2, "")
    assert "sparsity" in done.stderr
