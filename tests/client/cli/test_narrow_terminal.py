"""What commands print on a terminal of 50 columns, without color, and into a pipe."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from safetensors.numpy import save_file

from pruning_client import Client, rules
from pruning_client.cli.tables import columns, wrapped
from tests.client import tiny_experts
from tests.servers import ServerProcess, running_server

COLUMNS: Final = 50
ESCAPE: Final = "\x1b"
L1: Final = ("--method", "l1_unstructured", "--amount", "50%")

PRINTING: Final = {
    "run": ("run", "model.safetensors", "-o", "new.safetensors", *L1),
    "plan": ("run", "model.safetensors", "--plan", *L1),
    "dry run": ("run", "model.safetensors", "--dry-run", *L1, "--global"),
    "experts": ("run", "moe", "--keep-experts", "2", "--plan"),
    "layers": ("run", "moe", "--drop-layers", "1", "--dry-run"),
    "scan": ("scan", "model.safetensors", "--method", "l1_unstructured"),
    "inspect": ("inspect", "pruned.safetensors", "--sort", "sparsity"),
    "histogram": ("inspect", "pruned.safetensors", "--histogram", "--top", "3"),
    "diff": ("diff", "model.safetensors", "pruned.safetensors"),
    "other shapes": ("diff", "model.safetensors", "moe"),
    "apply": ("apply", "model.safetensors", "masks.safetensors", "-o", "new.safetensors"),
    "pack": ("pack", "pruned.safetensors", "-o", "new.safetensors"),
    "report": ("report", "model.safetensors", "pruned.safetensors", "-o", "new.html"),
    "methods": ("methods",),
    "jobs": ("jobs", "list", "--server", "SERVER"),
    "job": ("jobs", "show", "a-job-with-a-rather-long-name", "--server", "SERVER"),
}


ENVIRONMENT: Final = {**os.environ, "COLUMNS": str(COLUMNS), "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    random = np.random.default_rng(0)
    shapes = {"embed_tokens.weight": (50, 8), "norm.weight": (8,)}
    for layer in range(2):
        prefix = f"encoder.transformer.layers.{layer}"
        shapes |= {f"{prefix}.self_attention.q_proj.weight": (8, 8), f"{prefix}.mlp.fc1.weight": (16, 8)}
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(weights, folder / "model.safetensors")
    tiny_experts.folder(folder / "moe", tiny_experts.arrays())
    for out, options in (("pruned", ()), ("masks", ("--output", "mask"))):
        prune(folder, "run", "model.safetensors", "-o", f"{out}.safetensors", *L1, *options)
    return folder


@pytest.fixture(scope="module")
def with_a_job(folder: Path) -> Iterator[ServerProcess]:
    """A server that leaves its job to others."""
    with running_server(stores=f"file://{folder}", max_jobs="0") as server:
        with Client(server.address) as client:
            place = f"file://{folder}"
            rule = rules.l1_unstructured(0.5)
            client.prune_checkpoint(f"{place}/moe", f"{place}/out", rule, name="a-job-with-a-rather-long-name")
        yield server


def prune(folder: Path, *words: str) -> str:
    """What a command prints into a pipe."""
    return subprocess.run(
        command(*words), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True
    ).stdout


def prune_on_terminal(folder: Path, *words: str) -> str:
    """What a command prints on a terminal of 50 columns."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(command(*words), cwd=folder, env=ENVIRONMENT, stdout=terminal, stderr=subprocess.DEVNULL)
    os.close(terminal)
    shown = b"".join(iter(lambda: _read(controller), b""))
    os.close(controller)
    assert process.wait() == 0
    return shown.decode().replace("\r\n", "\n")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "pruning_client", *words]


def _read(controller: int) -> bytes:
    """More of what was printed; nothing at its end, which Linux reports as an error."""
    try:
        return os.read(controller, 1 << 16)
    except OSError:
        return b""


@pytest.mark.parametrize("name", PRINTING)
def test_lines_fit_the_terminal(name: str, folder: Path, with_a_job: ServerProcess) -> None:
    words = [with_a_job.address if word == "SERVER" else word for word in PRINTING[name]]
    shown = prune_on_terminal(folder, *words)
    assert shown
    assert ESCAPE not in shown
    assert [line for line in shown.splitlines() if columns(line) > COLUMNS and len(line.split()) > 1] == []


@pytest.mark.parametrize("name", ["run", "inspect", "diff", "scan", "experts"])
def test_pipe_gets_whole_names_in_one_line_each(name: str, folder: Path) -> None:
    printed = prune(folder, *PRINTING[name])
    assert ESCAPE not in printed
    assert "…" not in printed
    names = (
        ("model.layers.0.block_sparse_moe",) if name == "experts" else ("encoder.transformer.layers.1.mlp.fc1.weight",)
    )
    assert all(any(line.startswith(f"{each}  ") for line in printed.splitlines()) for each in names)


def test_recipe_is_never_wrapped(folder: Path) -> None:
    long = "encoder.*.a_pattern_that_is_longer_than_the_terminal_is_wide.weight"
    shown = prune_on_terminal(folder, "recipe", *L1, "--include", long, "--exclude", "a name with blanks " * 4)
    assert f"  - {long}\n" in shown
    assert prune(folder, "recipe", *L1, "--include", long, "--exclude", "a name with blanks " * 4) == shown


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("one two three", ["one two", "  three"]),
        ("  one two three", ["  one two", "    three"]),
        ("a_word_longer_than_all", ["a_word_longer_than_all"]),
        ("first\n\nlast", ["first", "", "last"]),
    ],
)
def test_lines_are_broken_between_words(text: str, lines: list[str]) -> None:
    assert wrapped(text, 10).split("\n") == lines
    assert wrapped(text, None) == text
