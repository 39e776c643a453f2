"""What the command line says of the whole model, and what it warns about on standard error."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pruning_client.cli.warnings_text import warnings_text
from pruning_client.results.model_warning import ModelWarning
from tests.client.tiny_files import F32, checkpoint, floats, written
from tests.servers import ServerProcess

GLOBAL = ("--method", "l1_unstructured", "--amount", "0.5", "--global")
MODEL: dict[str, tuple[str, tuple[int, ...], bytes]] = {
    "embed.weight": (F32, (4, 2), floats(*range(8))),
    "a.weight": (F32, (2, 2), floats(1, 2, 3, 4)),
    "b.weight": (F32, (2, 2), floats(5, 6, 7, 8)),
    "b.bias": (F32, (2,), floats(1, 1)),
}


def prune(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "in.safetensors", checkpoint(MODEL))


@pytest.mark.parametrize("has_server", [True, False], ids=["server", "one process"])
def test_layer_that_ends_up_empty_gets_a_line(server: ServerProcess, file: Path, has_server: bool) -> None:
    place = ["--server", server.address] if has_server else []
    done = prune("run", file, "-o", file.parent / "out", *GLOBAL, *place)
    assert done.returncode == 0
    assert done.stderr.startswith("prune: warning: 'a.weight' is all zero: none of its 4 weights is left; ")
    assert done.stderr.count("\n") == 1


def test_warnings_are_in_the_json_and_not_on_standard_error(file: Path) -> None:
    done = prune("run", file, "-o", file.parent / "out", *GLOBAL, "--json")
    (warning,) = json.loads(done.stdout)["warnings"]
    assert (warning["kind"], warning["tensor"]) == ("empty", "a.weight")
    assert done.stderr == ""


def test_report_counts_the_whole_model(file: Path) -> None:
    report = json.loads(prune("run", file, *GLOBAL, "--dry-run", "--json").stdout)
    model = report["model"]
    assert (model["tensors"], model["entries"], model["weight_bytes"]) == (4, 18, 72)
    assert (model["selected_tensors"], model["selected_entries"], round(model["selected_part"], 2)) == (2, 8, 0.44)
    assert [(each["name"], each["reason"]) for each in report["largest_not_selected"]] == [
        ("embed.weight", "embedding"),
        ("b.bias", "name"),
    ]


def test_plan_counts_the_whole_model(file: Path) -> None:
    model = json.loads(prune("run", file, *GLOBAL, "--plan", "--json").stdout)["model"]
    assert (model["tensors"], model["entries"], model["selected_entries"]) == (4, 18, 8)


def test_text_has_the_zeros_of_the_model(file: Path) -> None:
    lines = prune("run", file, *GLOBAL, "--dry-run").stdout.splitlines()
    assert "zeros in the model: 1 before (5.56%), 5 now (27.78%)" in lines


@pytest.mark.parametrize("dry", ["--plan", "--dry-run"])
def test_text_says_what_is_not_selected_and_why(file: Path, dry: str) -> None:
    lines = prune("run", file, *GLOBAL, dry).stdout.splitlines()
    assert "selected: 8 of 18 parameters (44.44%), 2 of 4 tensors; the model has 72 B" in lines
    begin = lines.index("largest not selected  entries  of the model                     reason")
    assert lines[begin + 2].split(maxsplit=3) == ["embed.weight", "8", "44.44%", "an embedding, by its name"]
    assert lines[begin + 3].split()[:3] == ["b.bias", "2", "11.11%"]


def test_many_warnings_of_a_kind_are_cut() -> None:
    warnings = [ModelWarning(kind="empty", tensor=str(at), message=f"{at} is empty") for at in range(100)]
    lines = warnings_text([*warnings, ModelWarning(kind="other", tensor=None, message="\x1b[2J")]).splitlines()
    assert len(lines) == 7
    assert lines[5] == "prune: warning: and 95 more like this; --json and --report list them all"
    assert lines[6] == r"prune: warning: \x1b[2J"


def test_masks_that_empty_a_layer_get_a_line(file: Path) -> None:
    masks, out = file.with_name("masks"), file.with_name("out")
    prune("run", file, "-o", masks, *GLOBAL, "--output", "mask")
    done = prune("apply", file, masks, "-o", out)
    assert done.stdout.startswith("2 tensors pruned: 4 of 8 entries, 50.00%; 22.22% of the model's 18\n")
    assert done.stderr.startswith("prune: warning: the mask of 'a.weight' leaves 0 of its 4 weights; ")
