"""Errors and warnings of the command line name the options as they were typed; of a recipe file, its fields."""

import json
from pathlib import Path

import pytest

from pruning_client.cli import main
from tests.client.tiny_experts import arrays, block, folder
from tests.client.tiny_files import F32, checkpoint, floats, written

WEIGHTS = arrays()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return folder(tmp_path / "model", WEIGHTS)


def run(model: Path, *options: str) -> int:
    return main.run(["run", str(model), "--dry-run", *options])


L1 = ("--method", "l1_unstructured", "--amount", "0.5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--drop-experts", "9"], "error: --drop-experts: unit 9 does not exist", id="experts"),
        pytest.param(["--keep-experts", "0"], "error: --keep-experts: the number of units", id="before it is sent"),
        pytest.param(["--drop-layers", "vision=1"], "error: --drop-layers: the rule has no group 'vision'", id="stack"),
        pytest.param(["--keep-layers", "1"], "error: --score or --scores: a number of layers needs one", id="no score"),
        pytest.param([*L1, "--include", "nope*"], "error: --include: 'nope*' matches none", id="pattern"),
        pytest.param(["--keep-experts", "2", *L1, "--exclude", "nope*"], "error: --exclude: 'nope*'", id="second rule"),
        pytest.param([*L1[:3], "1.5"], "error: --amount: a fraction is", id="amount"),
        pytest.param(["--method", "wanda", *L1[2:]], "error: --method wanda needs a statistic", id="score of a method"),
        pytest.param(
            ["--n-of-m", "2:64"], "error: --n-of-m: the entries of a group are 2 to 32", id="part of an option"
        ),
        pytest.param(["--map", "bert_ffn", *L1[2:]], "error: --map: the checkpoint has no block", id="map"),
        pytest.param(
            ["--keep-experts", "2", "--mtp-score", "random"],
            "error: --mtp-score: the checkpoint has no block that map 'experts_of_mtp' fits",
            id="no further prediction",
        ),
    ],
)
def test_errors_name_options(model: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, *options) == 2
    text = capsys.readouterr().err
    assert message in text
    assert "rules[" not in text


def test_scores_of_another_size_are_named(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = {f"{block(layer)}:unit_scores": (F32, (3,), floats(1, 2, 3)) for layer in range(2)}
    scores = written(tmp_path / "s.safetensors", checkpoint(dict(tensors)))
    assert run(model, "--keep-experts", "2", "--scores", str(scores)) == 2
    assert capsys.readouterr().err.startswith("error: --scores")


def test_warnings_name_options(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--keep-experts", "4") == 0
    assert "prune: warning: --keep-experts removes nothing" in capsys.readouterr().err


def test_programs_are_told_the_field(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--drop-experts", "9", "--json") == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["violations"][0]["field"] == "recipe.rules[0].score.listed.every_group.pruned"


def test_fields_of_a_recipe_file_stay(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = written(tmp_path / "r.yaml", b"rules:\n- {method: drop_experts, experts: 9}\n")
    assert run(model, "--recipe", str(recipe)) == 2
    assert "error: rules[0].score.listed.every_group" in capsys.readouterr().err
