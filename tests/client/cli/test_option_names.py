"""Errors and warnings of the command line name the options as they were typed; of a recipe file, its fields."""

import json
import re
from pathlib import Path

import pytest
from safetensors.numpy import save

from pruning_client import Statistics
from pruning_client.cli import main
from tests.client.statistics.values import tensor
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
        pytest.param(["--keep-experts", "1"], "error: 1 expert is left (num_local_experts)", id="singular"),
        pytest.param(["--keep-experts", "0"], "error: --keep-experts: the number of units", id="before it is sent"),
        pytest.param(["--drop-layers", "vision=1"], "error: --drop-layers: the rule has no group 'vision'", id="stack"),
        pytest.param(["--keep-layers", "1"], "error: --score or --scores: a number of layers needs one", id="no score"),
        pytest.param([*L1, "--include", "nope*"], "error: --include: 'nope*' matches none", id="pattern"),
        pytest.param(["--keep-experts", "2", *L1, "--exclude", "nope*"], "error: --exclude: 'nope*'", id="second rule"),
        pytest.param([*L1[:3], "1.5"], "error: --amount: a fraction is", id="amount"),
        pytest.param(["--method", "wanda", *L1[2:]], "error: --method wanda needs a statistic", id="score of a method"),
        pytest.param(
            ["--method", "wanda", *L1[2:]], "(rows of its inputs), or --exclude the tensor", id="without statistics"
        ),
        pytest.param(
            ["--map", "llama_mlp", *L1[2:], "--score", "obs"],
            "or choose another --score and --update",
            id="channels without statistics",
        ),
        pytest.param(["--n-of-m", "2:5"], "leave such tensors as they are with --allow-dense", id="not whole groups"),
        pytest.param(["--map", "llama_mlp", *L1[2:], "--n", "nuc"], "error: --n: nuc is for ln_structured", id="norm"),
        pytest.param([*L1, "--block", "2x2", "--swaps"], "error: --swaps: it is for single weights", id="swaps"),
        pytest.param(
            [*L1, "--max-sparsity", "0.4"], "error: --max-sparsity: it is for --global and --allocation", id="bounds"
        ),
        pytest.param(
            [*L1, "--allocation", "erk", "--max-sparsity", "0.4"],
            "error: --max-sparsity: the amount 0.5 is above --max-sparsity 0.4",
            id="a bound",
        ),
        pytest.param(
            [*L1, "--allocation", "erk", "--global"], "--allocation: with --global tensors compete", id="scope"
        ),
        pytest.param([*L1, "--seed", "-1"], "error: --seed: a seed is 0", id="seed"),
        pytest.param([*L1, "--importance-scores"], "(unless a --recipe has fall_back_to_weights)", id="recipes alone"),
        pytest.param(
            ["--method", "ln_structured", *L1[2:], "--dim", "7"], "error: --dim: tensor 'model.layers.0", id="dim"
        ),
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
    assert not re.search(r"rules\[|: send|granularit|(?<!-)\b(PRUNED|REMOVED|allow_dense|max_sparsity)\b", text)


def test_scores_of_another_size_are_named(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = {f"{block(layer)}:unit_scores": (F32, (3,), floats(1, 2, 3)) for layer in range(2)}
    scores = written(tmp_path / "s.safetensors", checkpoint(dict(tensors)))
    assert run(model, "--keep-experts", "2", "--scores", str(scores)) == 2
    assert capsys.readouterr().err.startswith("error: --scores")


def test_warnings_name_options(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--keep-experts", "4") == 0
    assert "prune: warning: --keep-experts removes nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param([*L1, "--output", "removed"], "error: --output removed takes out coupled channels", id="channels"),
        pytest.param(
            ["--keep-experts", "2", "--output", "pruned"], "give --output removed, or --dry-run to rank", id="experts"
        ),
        pytest.param(
            ["--keep-experts", "2", *L1, "--output", "masked"], "--output masked cannot leave out", id="several rules"
        ),
    ],
)
def test_errors_name_output_formats_as_options(
    tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "model.safetensors", save(WEIGHTS))
    assert main.run(["run", str(file), "-o", str(tmp_path / "out.safetensors"), *options]) == 2
    assert message in capsys.readouterr().err


def test_statistics_that_lack_a_tensor_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "model.safetensors", save(WEIGHTS))
    sums = {"lm_head.weight:in_sum2": tensor([1.0] * 8, "F32"), "lm_head.weight:in_count": tensor([3.0], "F32")}
    Statistics(kind="norms", tensors=sums).save(tmp_path / "s.safetensors")
    words = [
        "run",
        str(file),
        "--dry-run",
        "--method",
        "wanda",
        *L1[2:],
        "--statistics",
        str(tmp_path / "s.safetensors"),
    ]
    assert main.run(words) == 2
    assert f"neither the file nor --statistics {tmp_path}/s.safetensors has: give" in capsys.readouterr().err


def test_unit_that_is_kept_all_the_same_is_told(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--map", "experts", "--amount", "1.0") == 0
    warning = "prune: warning: --amount asks for 4 of the 4 units of group"
    assert warning in capsys.readouterr().err


def test_programs_are_told_the_field(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--drop-experts", "9", "--json") == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["violations"][0]["field"] == "recipe.rules[0].score.listed.every_group.pruned"


def test_fields_of_a_recipe_file_stay(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = written(tmp_path / "r.yaml", b"rules:\n- {method: drop_experts, experts: 9}\n")
    assert run(model, "--recipe", str(recipe)) == 2
    assert "error: rules[0].score.listed.every_group" in capsys.readouterr().err


def test_statistics_of_a_recipe_file_are_an_option(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written(tmp_path / "r.yaml", b"rules:\n- {method: n_of_m, n: 2, m: 4, score: obs}\n")
    assert run(model, "--recipe", str(recipe)) == 2
    text = capsys.readouterr().err
    assert "error: rules[0].score needs a statistic" in text
    assert "give --statistics with" in text
    assert "or leave the tensor out of the rule" in text
