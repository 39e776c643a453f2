"""Units that the caller lists: nothing is ranked, and what is pruned is known before any data."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.errors import Reason, RecipeError
from pruning_engine.scores.score import Score
from pruning_engine.scores.units.unit_list import UnitList


@dataclass(frozen=True, slots=True)
class ListedUnits(Score):
    """No ranking: exactly the units that are listed are pruned.

    `every_group`: the units of each group that is not in `groups`, by the group's name; None: those keep all.
    """

    field: ClassVar[str] = "listed"
    only_granularity: ClassVar[str | None] = "units"
    lists_units: ClassVar[bool] = True

    every_group: UnitList | None = None
    groups: Mapping[str, UnitList] = dataclasses.field(default_factory=dict, hash=False)

    def check(self, path: str) -> None:
        """Refuse lists that are invalid for any checkpoint. Raises: RecipeError with the path of the field."""
        if self.every_group is None and not self.groups:
            raise RecipeError(
                Reason.INVALID_RECIPE,
                f"{path}: no units are listed; give every_group, or groups by name",
                field=path,
            )
        if self.every_group is not None:
            self.every_group.check(f"{path}.every_group")
        for name, units in self.groups.items():
            units.check(f'{path}.groups["{name}"]')
