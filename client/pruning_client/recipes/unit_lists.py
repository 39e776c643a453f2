"""Lists of units, such as experts or layers: numbers, or in short as text, `3,7,12-15`."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from numbers import Integral
from typing import Final, TypeAlias

from pruning_client.errors import recipe_error
from pruning_proto.reasons import Reason

UnitsLike: TypeAlias = int | str | Iterable[int]
"""One unit, several, or text: numbers and ranges, of which both ends belong to them, `3,7,12-15`."""

_RANGE: Final = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")
_END: Final = 2**32
_EXPECTED: Final = "units are numbers from 0 on, or text such as '3,7,12-15'"


def units_of(value: UnitsLike, field: str) -> list[int]:
    """Return units, ascending. Raises: RecipeError if there are none, or one is given twice or is out of range."""
    units = _in_text(value, field) if isinstance(value, str) else _numbers(value, field)
    if not units:
        raise recipe_error(Reason.INVALID_RECIPE, field, f"name at least one unit; {_EXPECTED}")
    if len(set(units)) < len(units):
        twice = next(one for one, two in pairwise(sorted(units)) if one == two)
        raise recipe_error(Reason.INVALID_RECIPE, field, f"unit {twice} is given twice")
    return sorted(units)


def units_text(units: Sequence[int]) -> str:
    """Return ascending units as text: `3,7,12-15`."""
    runs: list[list[int]] = []
    for unit in units:
        if runs and unit == runs[-1][1] + 1:
            runs[-1][1] = unit
        else:
            runs.append([unit, unit])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _in_text(text: str, field: str) -> list[int]:
    units: list[int] = []
    for part in text.replace(" ", "").split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise recipe_error(Reason.INVALID_RECIPE, field, f"{_EXPECTED}; got {text[:80]!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < _END:
            raise recipe_error(Reason.INVALID_RECIPE, field, f"a range ascends, and ends below 2^32; got {part!r}")
        units += range(first, last + 1)
    return units


def _numbers(value: int | Iterable[int], field: str) -> list[int]:
    return [_number(unit, field) for unit in (value if isinstance(value, Iterable) else [value])]


def _number(unit: object, field: str) -> int:
    number = -1 if isinstance(unit, bool) or not isinstance(unit, Integral) else int(unit)
    if not 0 <= number < _END:
        raise recipe_error(Reason.INVALID_RECIPE, field, f"{_EXPECTED}; got {unit!r}")
    return number
