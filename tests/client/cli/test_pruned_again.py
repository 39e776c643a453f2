"""A result that is pruned again from the command line: three rounds of a half are 87.5 %, wherever the file is."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.client.tiny_files import F32, checkpoint, floats, written
from tests.servers import ServerProcess

HALF = ("--method", "l1_unstructured", "--amount", "0.5")
MODEL: dict[str, tuple[str, tuple[int, ...], bytes]] = {
    "a.weight": (F32, (2, 8), floats(*range(1, 17))),
    "b.weight": (F32, (2, 8), floats(*range(17, 33))),
}


def prune(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, text=True, check=False
    )


def three_rounds(source: Path, options: Sequence[str]) -> list[tuple[int, int]]:
    """Return what was pruned before and after each round, each of the result of the one before."""
    pruned = []
    for number in range(3):
        out = source.with_name(f"round-{number}")
        done = prune("run", source, "-o", out, *HALF, *options, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        report = json.loads(done.stdout)
        pruned.append((report["pruned_before"], report["pruned"]))
        source = out
    return pruned


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "in.safetensors", checkpoint(MODEL))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder of two shards."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    names = [f"model-0000{at}-of-00002.safetensors" for at in (1, 2)]
    for name, tensor in zip(names, MODEL, strict=True):
        written(model / name, checkpoint({tensor: MODEL[tensor]}))
    index = {"weight_map": dict(zip(MODEL, names, strict=True))}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    return model


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="dense"),
        pytest.param(["--global"], id="global"),
        pytest.param(["--output", "packed"], id="packed"),
        pytest.param(["--output", "masked"], id="masked"),
    ],
)
@pytest.mark.parametrize("has_server", [True, False], ids=["server", "one process"])
def test_rounds_of_a_file_add_up(server: ServerProcess, file: Path, options: list[str], has_server: bool) -> None:
    place = ["--server", server.address] if has_server else []
    assert three_rounds(file, [*options, *place]) == [(0, 16), (16, 24), (24, 28)]


@pytest.mark.parametrize("has_server", [True, False], ids=["server", "one process"])
def test_rounds_of_a_folder_of_shards_add_up(server: ServerProcess, folder: Path, has_server: bool) -> None:
    place = ["--server", server.address] if has_server else []
    assert three_rounds(folder, ["--output", "pruned", *place]) == [(0, 16), (16, 24), (24, 28)]


def test_masks_that_were_applied_are_remembered(file: Path) -> None:
    masks, out = file.with_name("masks"), file.with_name("out")
    prune("run", file, "-o", masks, *HALF, "--output", "mask")
    prune("apply", file, masks, "-o", out)
    report = json.loads(prune("run", out, *HALF, "--dry-run", "--json").stdout)
    assert (report["pruned_before"], report["pruned"]) == (16, 24)


def test_plan_says_what_an_earlier_round_pruned(file: Path) -> None:
    out = file.with_name("out")
    prune("run", file, "-o", out, *HALF, "--include", "a.*")
    done = prune("run", out, *HALF, "--plan")
    assert "pruned in an earlier round: 1 tensor; zeros there count as pruned, unless prior is mask" in done.stdout


def test_report_has_a_column_for_what_was_before(file: Path) -> None:
    out = file.with_name("out")
    prune("run", file, "-o", out, *HALF)
    lines = prune("run", out, *HALF, "--dry-run").stdout.splitlines()
    assert [line.split() for line in lines[:3:2]] == [
        ["tensor", "entries", "before", "pruned", "sparsity"],
        ["a.weight", "16", "8", "12", "75.00%"],
    ]


def test_prior_mask_takes_zeros_for_weights(file: Path) -> None:
    out = file.with_name("out")
    prune("run", file, "-o", out, *HALF)
    report = json.loads(prune("run", out, *HALF, "--prior", "mask", "--dry-run", "--json").stdout)
    assert (report["pruned_before"], report["pruned"]) == (0, 16)
