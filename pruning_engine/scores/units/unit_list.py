"""Units of one group as a caller lists them: those that are kept, those that are pruned, or one bit for each."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

import numpy as np

from pruning_engine.errors import MismatchError, Reason, RecipeError
from pruning_engine.kernels.backend import BoolArray
from pruning_proto.counted import counted, counted_that

_FIELDS = "kept, pruned, kept_bits"


@dataclass(frozen=True, slots=True)
class UnitList:
    """Which units of a group are kept, counted from 0; exactly one of the three is set.

    `kept_bits`: one bit for each unit, 1 = kept, in little order, spare bits 0.
    """

    kept: tuple[int, ...] = ()
    pruned: tuple[int, ...] = ()
    kept_bits: bytes = b""

    def check(self, path: str) -> None:
        """Refuse a list that is invalid for any group. Raises: RecipeError with the path of the field at fault."""
        given = [name for name in ("kept", "pruned", "kept_bits") if getattr(self, name)]
        if len(given) != 1:
            found = " and ".join(given) if given else "none"
            _refuse(path, f"exactly one of {_FIELDS} is required, got {found}")
        numbers = self.kept or self.pruned
        if len(set(numbers)) != len(numbers):
            twice = next(number for number, one in pairwise(sorted(numbers)) if number == one)
            _refuse(f"{path}.{given[0]}", f"unit {twice} is listed twice; list each unit once")
        if numbers and min(numbers) < 0:
            _refuse(f"{path}.{given[0]}", f"units are counted from 0, got {min(numbers)}")

    def flags(self, units: int, group: str, path: str) -> BoolArray:
        """Return which of a group's units are kept. Raises: MismatchError if it has no such units, or none is left."""
        if self.kept_bits:
            found = self._of_bits(units, group, path)
        else:
            field = "kept" if self.kept else "pruned"
            numbers = np.array(self.kept or self.pruned, np.int64)
            if numbers.max() >= units:
                _misfit(
                    f"{path}.{field}",
                    f"unit {numbers.max():,} does not exist: group {group!r} has {counted(units, 'unit')}, 0 to "
                    f"{units - 1:,}",
                )
            found = np.full(units, field == "pruned", np.bool_)
            found[numbers] = field == "kept"
        if not found.any():
            _misfit(path, f"no unit of group {group!r} is left; keep at least one")
        return found

    def _of_bits(self, units: int, group: str, path: str) -> BoolArray:
        field, needed = f"{path}.kept_bits", (units + 7) // 8
        if len(self.kept_bits) != needed:
            _misfit(
                field,
                f"group {group!r} has {counted(units, 'unit')}, for which {counted_that(needed, 'byte')} required, got "
                f"{len(self.kept_bits):,}",
            )
        bits = np.unpackbits(np.frombuffer(self.kept_bits, np.uint8), bitorder="little")
        if bits[units:].any():
            _misfit(field, f"the last {-units % 8} bits belong to no unit of group {group!r} and must be 0")
        return bits[:units].astype(np.bool_)


def _refuse(field: str, text: str) -> NoReturn:
    raise RecipeError(Reason.INVALID_RECIPE, f"{field}: {text}", field=field)


def _misfit(field: str, text: str) -> NoReturn:
    raise MismatchError(Reason.UNIT_MISFIT, f"{field}: {text}", field=field)
