"""How much is pruned, as people type it: parts, percentages, counts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.tiny_files import F32, checkpoint, floats, written

L1 = ("--method", "l1_unstructured")


def prune(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {
        "a.weight": (F32, (10, 10), floats(*range(1, 101))),
        "b.weight": (F32, (2, 30), floats(*range(1, 61))),
    }
    return written(tmp_path / "in.safetensors", checkpoint(tensors))


@pytest.mark.parametrize(
    ("amount", "pruned"),
    [
        pytest.param(["--amount", "0.5"], 80, id="part"),
        pytest.param(["--amount", "50%"], 80, id="percentage"),
        pytest.param(["--amount", "12.5%", "--global"], 20, id="percentage of all"),
        pytest.param(["--sparsity", "25%"], 40, id="sparsity in percent"),
        pytest.param(["--count", "50"], 100, id="count of each tensor"),
        pytest.param(["--count", "50", "--global"], 50, id="count of all"),
        pytest.param(["--count", "0"], 0, id="nothing"),
        pytest.param(["--amount", "1.0", "--include", "b.*"], 60, id="all"),
    ],
)
def test_amounts_are_what_they_say(file: Path, amount: list[str], pruned: int) -> None:
    report = json.loads(prune("run", file, *L1, *amount, "--dry-run", "--json").stdout)
    assert report["pruned"] == pruned
    assert "small_amount" not in {warning["kind"] for warning in report["warnings"]}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        pytest.param(
            [*L1, "--amount", "50"], "--amount 50 is a count, as in torch: 50 weights in each tensor", id="50"
        ),
        pytest.param([*L1, "--amount", "1"], "1 weight in each tensor; for 1% give --amount 1%, and for", id="1"),
        pytest.param([*L1, "--amount", "100", "--global"], "100 weights in all tensors together", id="global"),
        pytest.param(["--method", "ln_structured", "--amount", "1"], "1 channel in each tensor", id="channels"),
    ],
)
@pytest.mark.parametrize("dry", ["--plan", "--dry-run"])
def test_small_whole_number_as_amount_is_warned_about(file: Path, options: list[str], text: str, dry: str) -> None:
    options = [*options, "--include", "a.*"] if "100" not in options else options
    done = prune("run", file, *options, dry)
    assert done.returncode == 0
    assert text in done.stderr
    assert done.stderr.count("prune: warning: ") == 1


def test_large_count_needs_no_warning(file: Path) -> None:
    done = prune("run", file, *L1, "--amount", "101", "--global", "--dry-run")
    assert "small_amount" not in done.stderr
    assert "--count" not in done.stderr


def test_count_that_is_too_large_explains_itself(file: Path) -> None:
    done = prune("run", file, *L1, "--amount", "70", "--dry-run")
    assert done.returncode == 2
    assert "  --amount 70 is a count, as in torch" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--count", "0.5"], "--count: this is a whole number such as 1000; got '0.5'", id="part"),
        pytest.param(["--count", "-1"], "--count: ", id="negative"),
        pytest.param(["--count", "1", "--amount", "1"], "--amount and --count exclude each other", id="both"),
        pytest.param(["--amount", "half%"], "--amount: this is a part such as 0.5 or a count", id="no number"),
        pytest.param(["--amount", "150%"], "a fraction is 0.0 to 1.0, got 1.5", id="more than all"),
    ],
)
def test_amount_that_makes_no_sense_is_refused(file: Path, options: list[str], message: str) -> None:
    done = prune("run", file, *L1, *options, "--dry-run")
    assert done.returncode == 2
    assert message in done.stderr
