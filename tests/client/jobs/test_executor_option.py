"""Where a folder is pruned: what `--executor` is for, what it refuses, and what the environment does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.stored import tiny_models

WITHOUT_RAY = (
    "import sys; sys.modules['ray'] = None; from pruning_client.cli.main import main; raise SystemExit(main())"
)
HALF = ("--method", "l1_unstructured", "--amount", "0.5")


def prune(*words: str | Path, **variables: str) -> tuple[int, str]:
    """Run the command where Ray is not installed; return its exit status, and what it says on stderr."""
    command = [sys.executable, "-c", WITHOUT_RAY, "run", *map(str, words), *HALF]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})
    return done.returncode, done.stderr


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_models.write_sharded(tmp_path / "model")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--executor", "ray", "--dry-run"], "is for runs with a result"),
        (["--executor", "ray", "-o", "-"], "is for runs with a result"),
        (["--executor", "ray", "-o", "out", "--server", "127.0.0.1:1"], "is of a run without --server"),
        (["-o", "out", "--ray-address", "127.0.0.1:6379"], "--ray-address is for --executor ray"),
    ],
)
def test_executor_is_refused_where_it_has_no_meaning(model: Path, words: list[str], text: str) -> None:
    status, error = prune(model, *words)
    assert status == 2
    assert text in error


def test_executor_is_refused_for_one_file(model: Path) -> None:
    file = next(model.glob("*.safetensors"))
    status, error = prune(file, "-o", model.parent / "out.safetensors", "--executor", "ray")
    assert status == 2
    assert "is for the folder of a model" in error


def test_without_ray_is_said_what_to_install(model: Path) -> None:
    status, error = prune(model, "-o", model.parent / "out", "--executor", "ray")
    assert status == 1
    assert "pip install 'pruning-service[ray]'" in error
    assert [path.name for path in model.parent.iterdir()] == ["model"]


def test_executor_of_the_environment_is_for_folders_alone(model: Path) -> None:
    file, out = next(model.glob("*.safetensors")), model.parent / "out"
    assert prune(file, "-o", out.with_suffix(".safetensors"), PRUNING_EXECUTOR="ray") == (0, "")
    assert prune(model, "-o", out, PRUNING_EXECUTOR="ray")[0] == 1
