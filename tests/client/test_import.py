"""What `import pruning_client` does not bring along."""

import subprocess
import sys

import pytest

import pruning_client


@pytest.mark.parametrize("module", ["torch", "numpy", "rich", "yaml", "pruning_engine", "pruning_service"])
def test_import_is_light(module: str) -> None:
    program = f"import sys, pruning_client.cli.main; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("name", pruning_client.__all__)
def test_all_names_are_there_and_documented(name: str) -> None:
    assert getattr(pruning_client, name).__doc__
