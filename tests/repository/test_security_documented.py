"""`docs/security.md` promises nothing that no test holds: each promise names its tests, and each named test exists."""

import ast
import re
from pathlib import Path

import pytest

from tests.repository.modules import ROOT

DOCUMENT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
PROMISES = re.findall(r"^\| (?P<promise>[^|]+) \| (?P<tests>[^|]*tests/[^|]*) \|$", DOCUMENT, re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
TESTS = sorted({named for _, cell in PROMISES for named in NAMED.findall(cell)})


def functions_of(file: Path) -> set[str]:
    return {
        node.name for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)
    }


def test_there_are_promises() -> None:
    assert len(PROMISES) > 15


@pytest.mark.parametrize(("promise", "cell"), PROMISES, ids=[promise[:40] for promise, _ in PROMISES])
def test_promise_names_a_test(promise: str, cell: str) -> None:
    assert NAMED.search(cell), promise


@pytest.mark.parametrize(("file", "name"), TESTS, ids=lambda part: part)
def test_named_test_exists(file: str, name: str) -> None:
    assert (ROOT / file).is_file()
    assert not name or name in functions_of(ROOT / file)


def test_no_test_is_named_outside_the_table() -> None:
    assert len(NAMED.findall(DOCUMENT)) == sum(len(NAMED.findall(cell)) for _, cell in PROMISES)
