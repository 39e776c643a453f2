"""Each difference from torch that docs/torch.md lists has tests: `differences.py`, beside these, names them."""

import pytest

from tests.engine.modules.differences import DIFFERENCES
from tests.repository.modules import ROOT

TABLE = [
    line for line in (ROOT / "docs" / "torch.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")
]
ROWS = [line.split("|")[1].strip() for line in TABLE if not line.startswith(("| | torch", "| ---"))]


def test_every_test_belongs_to_a_difference() -> None:
    assert DIFFERENCES.keys() <= set(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_a_difference_names_its_test(row: str) -> None:
    assert DIFFERENCES[row]
    for reference in DIFFERENCES[row]:
        file, _, test = reference.partition("::")
        (path,) = (ROOT / "tests" / "engine").rglob(file)
        assert f"def {test or 'test_'}" in path.read_text(encoding="utf-8")
