"""How the command line says what went wrong."""

import errno

import pytest

from pruning_client.cli.error_output import as_json, as_text, status
from pruning_client.errors import MismatchError, UnavailableError, Violation


def test_several_places_are_listed_once_each_below_the_line() -> None:
    wrong = [Violation('tensors["a"]', "a is no float"), Violation('tensors["b"]', "b is no float")]
    error = MismatchError("2 tensors cannot be pruned", reason="UNPRUNABLE_DTYPE", violations=wrong)
    assert as_text(error).splitlines() == [
        "error: 2 tensors cannot be pruned [UNPRUNABLE_DTYPE]",
        '  tensors["a"]',
        '  tensors["b"]',
    ]


def test_notes_stand_below_the_line() -> None:
    error = UnavailableError("the embedded service ended with status 2")
    error.add_note("PRUNING_DEVICE: no abacus")
    assert as_text(error).splitlines()[1:] == ["  PRUNING_DEVICE: no abacus"]
    assert "no abacus" in as_json(error)


def test_what_others_say_cannot_add_a_line() -> None:
    assert as_text(MismatchError("tensor \x1b[2J\nerror: b")) == r"error: tensor \x1b[2J\nerror: b"


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOENT, 2), (errno.EISDIR, 2), (errno.ENOTDIR, 2), (errno.ENOSPC, 1), (errno.EACCES, 1), (errno.EIO, 1)],
    ids=lambda number: errno.errorcode.get(number, ""),
)
def test_path_that_makes_no_sense_is_told_from_a_disk_that_fails(number: int, expected: int) -> None:
    assert status(OSError(number, "no", "file")) == expected
