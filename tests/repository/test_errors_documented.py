"""`docs/errors.md` has every reason, with its status and its exception in the table of reasons."""

import re
from pathlib import Path

import pytest

from pruning_client import errors
from pruning_engine.errors import Reason as EngineReason
from pruning_proto.reasons import TABLE, Family, Reason

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(
    r"^\| `(?P<reason>\w+)` \| (?P<status>\w+) \| (?P<error>\w+) \| (?P<meaning>.+) \| (?P<remedy>.+) \|$", re.M
)
ROWS = list(ROW.finditer((ROOT / "docs" / "errors.md").read_text(encoding="utf-8")))


def test_every_reason_has_one_row() -> None:
    assert sorted(row["reason"] for row in ROWS) == sorted(Reason)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["reason"])
def test_row_gives_the_status_and_the_exception_of_the_table(row: re.Match[str]) -> None:
    expected = TABLE[Reason(row["reason"])]
    assert row["status"] == expected.code.name
    assert row["error"].removesuffix("Error").upper() == expected.family.name
    assert issubclass(getattr(errors, row["error"]), errors.PruningError)


def test_rows_stand_by_family() -> None:
    families = [TABLE[Reason(row["reason"])].family for row in ROWS]
    assert families == sorted(families, key=list(Family).index)


def test_engine_knows_no_reason_that_the_wire_does_not() -> None:
    assert {reason.value for reason in EngineReason} <= {reason.value for reason in Reason}


def test_engine_and_wire_agree_on_the_exception_of_each_reason() -> None:
    families = {TABLE[Reason(reason.value)].family for reason in EngineReason}
    assert families == {Family.RECIPE, Family.CHECKPOINT, Family.MISMATCH}
