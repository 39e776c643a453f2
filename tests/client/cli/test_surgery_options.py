"""`prune run` with whole experts, layers and tokens: on a folder, in this process."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from pruning_client.cli import main
from tests.client.tiny_experts import EXPERTS, HIDDEN, WIDTH, Arrays, arrays, block, folder
from tests.client.tiny_files import F32, checkpoint, floats, written

WEIGHTS = arrays()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return folder(tmp_path / "model", WEIGHTS)


def loaded(path: Path) -> Arrays:
    return {name: array for file in sorted(path.glob("*.safetensors")) for name, array in load_file(file).items()}


def run(model: Path, *options: str) -> int:
    return main.run(["run", str(model), *options])


def test_listed_experts_are_removed_from_a_folder(model: Path, tmp_path: Path) -> None:
    assert run(model, "-o", str(tmp_path / "out"), "--drop-experts", "0,2-2") == 0
    result = loaded(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["num_local_experts"] == 2
    assert np.array_equal(result[f"{block(1)}.gate.weight"], WEIGHTS[f"{block(1)}.gate.weight"][[1, 3]])
    assert np.array_equal(result[f"{block(1)}.experts.1.w2.weight"], WEIGHTS[f"{block(1)}.experts.3.w2.weight"])


def test_tensors_stay_in_their_shards(model: Path, tmp_path: Path) -> None:
    assert run(model, "-o", str(tmp_path / "out"), "--keep-experts", "2") == 0
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())["weight_map"]
    assert index[f"{block(1)}.experts.1.w1.weight"] == "model-00003-of-00003.safetensors"
    assert index["lm_head.weight"] == "model-00001-of-00003.safetensors"


LAYERS = b"""
rules:
- score: {listed: {every_group: {pruned: [0]}}}
  granularity:
    units: {groups: [{for_each: model, ties: [{tensor: "layers.{unit}.*"}], config: {num_hidden_layers: 1}}]}
"""


def test_shard_of_a_removed_layer_is_dropped(model: Path, tmp_path: Path) -> None:
    recipe = written(tmp_path / "layers.yaml", LAYERS)
    assert run(model, "-o", str(tmp_path / "out"), "--recipe", str(recipe)) == 0
    names = sorted(path.name for path in (tmp_path / "out").glob("*.safetensors"))
    assert names == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    moved = loaded(tmp_path / "out")[f"{block(0)}.gate.weight"]
    assert np.array_equal(moved, WEIGHTS[f"{block(1)}.gate.weight"])
    assert json.loads((tmp_path / "out" / "config.json").read_text())["num_hidden_layers"] == 1


def test_experts_are_chosen_by_scores_in_a_file(model: Path, tmp_path: Path) -> None:
    tensors = {f"{block(layer)}:unit_scores": (F32, (EXPERTS,), floats(4, 3, 1, 2)) for layer in range(2)}
    scores = written(tmp_path / "reap.safetensors", checkpoint(dict(tensors)))
    assert run(model, "-o", str(tmp_path / "out"), "--keep-experts", "2", "--scores", str(scores)) == 0
    assert np.array_equal(
        loaded(tmp_path / "out")[f"{block(1)}.gate.weight"], WEIGHTS[f"{block(1)}.gate.weight"][[0, 1]]
    )


def test_experts_that_were_not_measured_are_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = {"unit_sum": (4, 3, 0, 2), "unit_count": (2, 2, 0, 2)}
    tensors = {
        f"{block(layer)}:{name}": (F32, (EXPERTS,), floats(*each))
        for layer in range(2)
        for name, each in numbers.items()
    }
    scores = written(tmp_path / "reap.safetensors", checkpoint(dict(tensors)))
    assert run(model, "-o", str(tmp_path / "out"), "--keep-experts", "3", "--scores", str(scores)) == 0
    assert f"of group '{block(1)}' nothing was counted of units 2" in capsys.readouterr().err


def test_experts_of_further_prediction_have_a_score_of_their_own(tmp_path: Path) -> None:
    weights = {name.replace("model.layers.1", "mtp.layers.0"): array for name, array in WEIGHTS.items()}
    model = folder(tmp_path / "model", weights, num_hidden_layers=1)
    scores = checkpoint({f"{block(0)}:unit_scores": (F32, (EXPERTS,), floats(4, 3, 1, 2))})
    file = written(tmp_path / "reap.safetensors", scores)
    options = ("--keep-experts", "2", "--scores", str(file), "--mtp-score", "router_magnitude")
    assert run(model, "-o", str(tmp_path / "out"), *options) == 0
    result, name = loaded(tmp_path / "out"), "mtp.layers.0.block_sparse_moe.gate.weight"
    assert np.array_equal(result[f"{block(0)}.gate.weight"], weights[f"{block(0)}.gate.weight"][[0, 1]])
    best = np.sort(np.argsort(np.abs(weights[name]).sum(1))[2:])
    assert np.array_equal(result[name], weights[name][best])


def test_keeping_all_experts_is_told(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "-o", str(tmp_path / "out"), "--keep-experts", "4") == 0
    assert "removes nothing" in capsys.readouterr().err


def test_options_combine_with_a_map(model: Path, tmp_path: Path) -> None:
    options = ("--keep-experts", "3", "--map", "llama_mlp", "--amount", "0.5", "--same-width")
    assert run(model, "-o", str(tmp_path / "out"), *options) == 0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert [config[name] for name in ("num_local_experts", "intermediate_size")] == [3, 3]


def test_plan_lists_what_would_be_removed(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--plan", "--drop-experts", "1") == 0
    text = capsys.readouterr().out
    assert [line.split() for line in text.splitlines() if line.startswith(block(1))] == [
        [block(1), "4", "3", "1", "608", "B", "1"]
    ]
    assert "would be removed: 2 of 8 experts, in 2 groups; 1.2 kB of" in text
    assert "1.2 kB need not be sent" in text
    assert "lm_head" not in text


def test_plan_ranks_experts_by_their_routers(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--plan", "--keep-experts", "2", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    rows = np.abs(WEIGHTS[f"{block(1)}.gate.weight"]).sum(1)
    assert plan["groups"][1]["kept"] == sorted(np.argsort(rows)[2:].tolist())
    assert (
        plan["skipped_bytes"] == 4 * (3 * WIDTH + 1) * HIDDEN * 4
    )  # two experts of two layers, and their routers' rows


def test_plan_tells_bytes_of_layers_from_those_of_experts(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--plan", "--drop-layers", "0", "--drop-experts", "3") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("model.layers")]
    layer = EXPERTS * (3 * WIDTH + 1) * HIDDEN + 4 * HIDDEN**2 + 2 * HIDDEN
    assert rows == [
        ["model.layers", "2", "1", "1", f"{4 * layer / 1000:.1f}", "kB", "0"],
        [block(1), "4", "3", "1", "608", "B", "3"],
    ]


def test_plan_does_not_read_experts(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--plan", "--keep-experts", "2", "--score", "magnitude") == 0
    assert "?: depends on weights, which --dry-run reads" in capsys.readouterr().out


def test_dry_run_counts_what_would_be_removed(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--dry-run", "--keep-experts", "3") == 0
    assert "removed: 2 of 8 experts, in 2 groups" in capsys.readouterr().out


def test_recipe_removes_experts(model: Path, tmp_path: Path) -> None:
    recipe = written(tmp_path / "r.yaml", b"rules:\n- {method: drop_experts, experts: 0-1}\n")
    assert run(model, "-o", str(tmp_path / "out"), "--recipe", str(recipe)) == 0
    assert json.loads((tmp_path / "out" / "config.json").read_text())["num_local_experts"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--drop-experts", "9"], "9", id="an expert that is not there"),
        pytest.param(["--keep-experts", "5"], "has only 4", id="more experts than there are"),
        pytest.param(["--drop-experts", "0-3"], "keep at least", id="all experts"),
        pytest.param(["--drop-experts", "0-2"], "keep at least 2", id="fewer than each token takes"),
        pytest.param(["--keep-experts", "2", "--drop-experts", "1"], "exclude each other", id="both"),
        pytest.param(["--keep-layers", "1"], "a number of layers needs one", id="layers without scores"),
        pytest.param(["--drop-experts", "1", "--mtp-score", "random"], "is for --keep-experts N", id="score of a list"),
        pytest.param(["--drop-experts", "1", "--scores", "x"], "give the number of units to keep", id="scores alone"),
        pytest.param(["--drop-layers", "last"], "units are numbers from 0 on", id="words"),
    ],
)
def test_wrong_input_is_refused(
    model: Path, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = run(model, "-o", str(tmp_path / "out"), *options)
    except SystemExit as end:  # of argparse
        status = int(str(end.code))
    assert status == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_report_of_whole_units_says_what_was_removed(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, "-o", str(tmp_path / "out"), "--keep-experts", "3") == 0
    text = capsys.readouterr().out
    assert f"removed: {2 * (EXPERTS - 3)} of {2 * EXPERTS} experts, in 2 groups" in text
    assert "not selected" not in text


@pytest.mark.parametrize("options", [("--amount", "0.5"), ("--round-to", "8"), ("--update", "refit")])
def test_options_of_no_rule_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, str]
) -> None:
    assert run(model, "-o", str(tmp_path / "out"), "--keep-experts", "3", *options) == 2
    assert f"{options[0]}: for a rule beside the whole units" in capsys.readouterr().err


def test_pattern_beside_experts_is_a_rule(model: Path, tmp_path: Path) -> None:
    options = ("--n-of-m", "2:4", "--include", "*.w1.weight")
    assert run(model, "-o", str(tmp_path / "out"), "--keep-experts", "3", *options) == 0
    weight = loaded(tmp_path / "out")[f"{block(1)}.experts.0.w1.weight"]
    assert np.count_nonzero(weight) == weight.size // 2
