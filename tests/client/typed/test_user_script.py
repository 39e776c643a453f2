"""A user's script passes the checks of pyright, as of mypy, which `make check` runs on all tests; and it runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pruning_client import Client, rules
from scripts.environments import python_with
from tests.client.test_public_interface import tiny_state_dict
from tests.repository.modules import ROOT
from tests.servers import running_server
from tests.system.jobs import settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SCRIPT = Path(__file__).with_name("user_script.py")
PYRIGHT = ("pyright[nodejs]==1.1.414",)


def findings(*files: Path) -> list[str]:
    """Return what pyright finds."""
    python = python_with("pyright", PYRIGHT)
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    command: list[str | Path] = [python, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", *files]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [f"{each['file']}:{each['range']['start']['line'] + 1}: {each['message']}" for each in found]


def test_pyright_finds_nothing_in_scripts_of_users() -> None:
    assert findings(SCRIPT, *sorted((ROOT / "examples").glob("*.py"))) == []


def test_pyright_would_find_a_wrong_argument(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text("from pruning_client import Client, rules\nClient('x').prune({}, rules.l1_unstructured('half'))\n")
    (found,) = findings(file)
    assert "wrong.py:2" in found


def test_script_runs(tmp_path: Path) -> None:
    with running_server(**settings(tmp_path)) as server:
        with Client(server.address) as client:
            for folder in (tmp_path, tmp_path / "model", tmp_path / "m"):
                folder.mkdir(exist_ok=True)
                client.prune(tiny_state_dict(), rules.identity()).save(folder / "model.safetensors")
                (folder / "config.json").write_text('{"model_type": "none"}')
        command: list[str | Path] = [sys.executable, SCRIPT, server.address, tmp_path]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("done\n")
