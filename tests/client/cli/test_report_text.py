"""The text of a report of units: removed entries are not in the result, and config.json changes only with it."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pruning_client import LocalClient, rules
from pruning_client.cli import main
from pruning_client.cli.report_text import report_text

RECIPE = """
rules:
  - score: {magnitude: {}}
    granularity: {units: {groups: [{ties: [fc1.weight:0, fc2.weight:1], config: {width: 1}}]}}
    amount: {fraction: 0.5}
"""
HINT = "output pruned leaves all shapes and config.json as they are; --output removed makes the tensors smaller"
BEFORE = "zeros in the model: 4 before (22.22%), "


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two layers that share four channels, a kept one with zeros, and a vector of zeros that no rule selects."""
    weight = np.array([[4, 4], [1, 1], [9, 0], [2, 2]], np.float32)
    path = tmp_path / "in.safetensors"
    save_file({"fc1.weight": weight, "fc2.weight": weight.T.copy(), "z.bias": np.zeros(2, np.float32)}, path)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return path


def lines_of(capsys: pytest.CaptureFixture[str], file: Path, *options: str) -> list[str]:
    assert main.run(["run", str(file), "--recipe", str(file.with_name("recipe.yaml")), *options]) == 0
    return capsys.readouterr().out.splitlines()


def test_zeros_of_a_smaller_result_are_those_in_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.with_name("out.safetensors")
    lines = lines_of(capsys, file, "-o", str(out), "--output", "removed")
    zeros = sum(int((array == 0).sum()) for array in load_file(out).values())
    assert "parameters: 18 before, 10 now (55.56%)" in lines
    assert f"{BEFORE}{zeros} of 10 now (40.00%)" in lines
    assert zeros == 4


def test_dry_run_calls_what_would_be_removed_no_zeros(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{BEFORE}12 now zero or removed (66.67%)" in lines_of(capsys, file, "--dry-run", "--output", "removed")


def test_zeros_of_a_result_of_the_old_size_are_all_counted(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(capsys, file, "-o", str(file.with_name("out.safetensors")))
    assert f"{BEFORE}12 now (66.67%)" in lines


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["result", "dry run"])
def test_config_is_shown_where_it_changes(file: Path, capsys: pytest.CaptureFixture[str], dry: list[str]) -> None:
    place = dry or ["-o", str(file.with_name("out.safetensors"))]
    removed = lines_of(capsys, file, *place, "--output", "removed")
    assert removed[0].split() == ["group", "units", "kept", "config.json"]
    assert HINT not in removed
    pruned = lines_of(capsys, file, *place, *(["--force"] * (not dry)))
    assert [line.split() for line in pruned[:3:2]] == [["group", "units", "kept"], ["fc1.weight", "4", "2"]]
    assert HINT in pruned


def test_plan_hints_at_smaller_tensors(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hint = "; --output removed makes the tensors smaller"
    assert any(line.endswith(hint) for line in lines_of(capsys, file, "--plan"))
    assert not any(line.endswith(hint) for line in lines_of(capsys, file, "--plan", "--output", "removed"))


def test_report_of_an_unknown_output_is_true_of_each(file: Path) -> None:
    """As that of a job is, whose status does not say what output was asked for."""
    group = rules.group(["fc1.weight:0", "fc2.weight:1"], config={"width": 1})
    with LocalClient() as client:
        report = client.dry_run(file, rules.remove_units(0.5, groups=group))
    lines = report_text(report, None, with_seed=False).splitlines()
    assert lines[0].endswith("config.json if removed")
    assert f"{BEFORE}12 now zero or removed (66.67%)" in lines
