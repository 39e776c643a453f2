"""Child processes are started without the current folder on their path: it may be a downloaded model's."""

import ast
from pathlib import Path

import pytest

from tests.repository.modules import FOLDERS, modules_of

ROOT = Path(__file__).parents[2]


def unsafe_starts(source: str) -> list[int]:
    """Return the lines of the lists that begin with `sys.executable` and not with `sys.executable, "-P"`."""
    lists = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.List | ast.Tuple) and node.elts]
    starts = [node for node in lists if ast.unparse(node.elts[0]) == "sys.executable"]
    return [node.lineno for node in starts if [ast.unparse(each) for each in node.elts[1:2]] != ["'-P'"]]


@pytest.mark.parametrize("package", FOLDERS)
def test_every_child_of_a_package_starts_without_the_current_folder(package: str) -> None:
    unsafe = {name: lines for name, file in modules_of(package).items() if (lines := unsafe_starts(file.read_text()))}
    assert unsafe == {}


@pytest.mark.parametrize(
    ("source", "lines"), [("run([sys.executable, '-m', 'x'])", [1]), ("[sys.executable, '-P']", [])]
)
def test_starts_are_found(source: str, lines: list[int]) -> None:
    assert unsafe_starts(source) == lines


def test_images_start_python_without_the_current_folder() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    starts = [line for line in lines if line.startswith(("HEALTHCHECK", "ENTRYPOINT")) and "python" in line]
    assert starts
    assert all('"python", "-P", "-m"' in line for line in starts)
    assert "    PYTHONSAFEPATH=1 \\" in lines
