"""Each difference from torch that docs/torch.md lists names tests that exist."""

import re

import pytest

from tests.repository.modules import ROOT

TABLE = [
    line for line in (ROOT / "docs" / "torch.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")
]
ROWS = [line for line in TABLE if not line.startswith(("| | torch", "| ---"))]
REFERENCE = re.compile(r"`(?P<file>test_\w+\.py)?(?:::(?P<test>test_\w+))?`")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row).split("|")[1].strip())
def test_a_difference_names_its_test(row: str) -> None:
    references = [match for match in REFERENCE.finditer(row.rsplit("|", 2)[1]) if match[0] != "``"]
    assert references
    (path,) = (ROOT / "tests" / "engine").rglob(str(references[0]["file"]))
    source = path.read_text(encoding="utf-8")
    assert all(f"def {match['test'] or 'test_'}" in source for match in references)
