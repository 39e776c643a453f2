"""Where commands write: what exists, standard output, and what is printed."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load

from tests.client.tiny_files import F32, checkpoint, floats, written

L1 = ("--method", "l1_unstructured", "--amount", "0.5")
FILE = checkpoint({"fc.weight": (F32, (2, 2), floats(1, -4, 3, -2))})
MASKS = checkpoint({"fc.weight:mask_bits": ("U8", (1,), b"\x06")})


def prune(*words: str | Path) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, check=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "in.safetensors", FILE)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a model."""
    folder = tmp_path / "model"
    folder.mkdir()
    written(folder / "model.safetensors", FILE)
    written(folder / "config.json", b"{}")
    return folder


def test_replaced_file_is_said(file: Path) -> None:
    out = written(file.with_name("out"), b"old")
    done = prune("run", file, "-o", out, *L1)
    assert done.stdout.decode().splitlines()[-1] == f"wrote {out}, replacing what was there"


def test_replaced_file_is_not_said_with_force(file: Path) -> None:
    out = written(file.with_name("out"), b"old")
    done = prune("run", file, "-o", out, *L1, "--force")
    assert done.stdout.decode().splitlines()[-1] == f"wrote {out}"


@pytest.mark.parametrize("words", [["run", *L1], ["pack"], ["apply"]], ids=["run", "pack", "apply"])
def test_no_clobber_keeps_a_file(file: Path, words: list[str]) -> None:
    out, masks = written(file.with_name("out"), b"old"), written(file.with_name("masks"), MASKS)
    command, *options = words
    operands = [file, masks] if command == "apply" else [file]
    done = prune(command, *operands, "-o", out, *options, "--no-clobber")
    assert (done.returncode, done.stdout, out.read_bytes()) == (2, b"", b"old")
    assert b"exists already" in done.stderr


def test_force_replaces_a_models_folder(model: Path) -> None:
    out = model.with_name("out")
    out.mkdir()
    written(out / "config.json", b"old")
    written(out / "stale.txt", b"old")
    done = prune("run", model, "-o", out, *L1, "--force")
    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors"]
    assert sorted(path.name for path in model.parent.iterdir()) == ["model", "out"]


def test_folder_that_has_a_result_inside_is_not_replaced(model: Path) -> None:
    other = model.with_name("other")
    shutil.copytree(model, other)
    assert prune("run", model, "-o", other / "pruned", *L1).returncode == 0
    done = prune("run", model, "-o", other, *L1)
    assert done.returncode == 2
    assert (other / "model.safetensors").read_bytes() == FILE


def test_folder_of_an_earlier_run_is_replaced(model: Path) -> None:
    out = model.with_name("out")
    first = prune("run", model, "-o", out, *L1)
    written(out / "model-00001-of-00001.safetensors", (out / "model.safetensors").read_bytes())  # other shards
    again = prune("run", model, "-o", out, *L1)
    assert (first.returncode, again.returncode) == (0, 0)
    assert again.stdout.endswith(b"out, replacing what was there\n")
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors"]
    assert prune("run", model, "-o", out, *L1, "--no-clobber").returncode == 2


@pytest.mark.parametrize(
    "name",
    ["checkpoint-5/model.safetensors", "checkpoint-5/optimizer.pt", "eval/results.json", ".git/HEAD", "README.md"],
)
def test_result_that_holds_what_no_run_wrote_is_refused(model: Path, name: str) -> None:
    out = model.with_name("out")
    assert prune("run", model, "-o", out, *L1).returncode == 0
    (out / name).parent.mkdir(exist_ok=True)
    written(out / name, FILE)
    assert prune("run", model, "-o", out, *L1).returncode == 2
    assert (out / name).read_bytes() == FILE


def test_folder_of_another_model_is_refused(model: Path) -> None:
    out = model.with_name("out")
    out.mkdir()
    written(out / "config.json", b"old")
    written(out / "model.safetensors", FILE)
    done = prune("run", model, "-o", out, *L1)
    assert done.returncode == 2
    assert (out / "model.safetensors").read_bytes() == FILE


def test_folder_is_kept_if_pruning_fails(model: Path) -> None:
    out = model.with_name("out")
    out.mkdir()
    written(out / "config.json", b"old")
    done = prune("run", model, "-o", out, *L1, "--force", "--include", "none.*")
    assert done.returncode == 2
    assert (out / "config.json").read_bytes() == b"old"
    assert sorted(path.name for path in model.parent.iterdir()) == ["model", "out"]


@pytest.mark.parametrize("name", ["other", "model", ".", "model/inner"], ids=["no model", "source", "parent", "inside"])
def test_force_spares_other_folders(model: Path, name: str) -> None:
    out = model.parent / name
    out.mkdir(exist_ok=True)
    if name in (".", "model/inner"):
        written(out / "config.json", b"{}")
    done = prune("run", model, "-o", out, *L1, "--force")
    assert done.returncode == 2
    assert (model / "model.safetensors").read_bytes() == FILE


@pytest.mark.parametrize("words", [["run", *L1], ["pack"], ["apply"]], ids=["run", "pack", "apply"])
def test_dash_writes_the_file_to_standard_output(file: Path, words: list[str]) -> None:
    masks = written(file.with_name("masks"), MASKS)
    command, *options = words
    operands = [file, masks] if command == "apply" else [file]
    done = prune(command, *operands, "-o", "-", *options)
    assert done.returncode == 0
    assert done.stderr.endswith(b"wrote to standard output\n")
    assert done.stdout == prune_to(file.with_name("out"), command, *operands, *options)


def prune_to(out: Path, *words: str | Path) -> bytes:
    assert prune(*words, "-o", out).returncode == 0
    return out.read_bytes()


def test_failed_run_writes_nothing_to_standard_output(file: Path) -> None:
    done = prune("run", file, "-o", "-", *L1, "--include", "none.*")
    assert (done.returncode, done.stdout) == (2, b"")


def test_json_goes_beside_a_file_on_standard_output(file: Path) -> None:
    done = prune("run", file, "-o", "-", *L1, "--json")
    assert json.loads(done.stderr)["out"] == "-"
    assert load(done.stdout)["fc.weight"].tolist() == [[0.0, -4.0], [3.0, 0.0]]


def test_folder_is_no_stream(model: Path) -> None:
    done = prune("run", model, "-o", "-", *L1)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"-o -: the result of a folder is a folder" in done.stderr


def test_file_is_not_written_to_a_terminal(file: Path) -> None:
    terminal, end = pty.openpty()
    words = [sys.executable, "-m", "pruning_client", "run", str(file), "-o", "-", *L1]
    done = subprocess.run(words, stdout=end, stderr=subprocess.PIPE, check=False)
    os.close(terminal)
    os.close(end)
    assert done.returncode == 2
    assert b"standard output is a terminal" in done.stderr


@pytest.mark.parametrize("words", [["run", *L1], ["pack"]], ids=["run", "pack"])
def test_quiet_prints_nothing(file: Path, words: list[str]) -> None:
    command, *options = words
    done = prune(command, file, "-o", file.with_name("out"), *options, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_quiet_still_prints_errors(file: Path) -> None:
    done = prune("run", file, "-o", file.with_name("out"), *L1, "--include", "none.*", "-q")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"error: ")


def test_quiet_and_json_exclude_each_other(file: Path) -> None:
    done = prune("run", file, "-o", file.with_name("out"), *L1, "--quiet", "--json")
    assert done.returncode == 2
    assert "not allowed with argument" in json.loads(done.stderr)["error"]["message"]
