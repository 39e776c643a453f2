"""`docs/security.md` promises nothing that no test checks: `tests.service.guarantees` names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

from tests.repository.modules import ROOT
from tests.service.guarantees import GUARANTEES

DOCUMENT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
SECTION = DOCUMENT.partition("\n## Guarantees\n")[2].partition("\n## ")[0]
PROMISES = [" ".join(item.split()) for item in re.findall(r"^- (.+(?:\n  .+)*)", SECTION, re.MULTILINE)]
NAMED = (test.partition("::") for tests in GUARANTEES.values() for test in tests)
TESTS = sorted({(file, name) for file, _, name in NAMED})


def functions_of(file: Path) -> set[str]:
    return {
        node.name for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)
    }


def test_there_are_promises() -> None:
    assert len(PROMISES) > 15


def test_every_test_belongs_to_a_promise() -> None:
    assert GUARANTEES.keys() <= set(PROMISES)


@pytest.mark.parametrize("promise", PROMISES, ids=[promise[:40] for promise in PROMISES])
def test_promise_names_a_test(promise: str) -> None:
    assert GUARANTEES[promise]


@pytest.mark.parametrize(("file", "name"), TESTS, ids=lambda part: part)
def test_named_test_exists(file: str, name: str) -> None:
    assert (ROOT / file).is_file()
    assert not name or name in functions_of(ROOT / file)


def test_no_test_is_named_outside_the_table() -> None:
    assert "test_" not in DOCUMENT
