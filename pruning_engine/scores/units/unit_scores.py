"""Scores of units that the caller sends: in the recipe, or as `w:unit_scores` beside the first tensor of a group."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np

from pruning_engine.errors import CheckpointError, MismatchError, Reason, RecipeError
from pruning_engine.kernels.cpu.arrays import numbers_of
from pruning_engine.scores.score import Score
from pruning_engine.scores.unit_inputs import UnitRanks, UnitsToRank, ranked
from pruning_proto.counted import counted
from pruning_proto.names import UNIT_SCORES


@dataclass(frozen=True, slots=True)
class UnitValues:
    """One number for each unit of a group."""

    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class UnitScores(Score):
    """One number for each unit; the least are pruned first, in global scope as they are.

    `groups`: the numbers by the group's name, for all groups of the rule; empty: they are in the checkpoint.
    """

    field: ClassVar[str] = "unit_scores"
    ranks: ClassVar[bool] = True
    ranks_channels: ClassVar[bool] = False
    ranks_units: ClassVar[bool] = True
    only_granularity: ClassVar[str | None] = "units"
    auxiliary: ClassVar[tuple[str, ...]] = (UNIT_SCORES,)
    missing_hint: ClassVar[str] = "one number for each unit, beside the first tensor of the group's ties"

    groups: Mapping[str, UnitValues] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def used_auxiliary(self) -> tuple[str, ...]:
        """The suffix of the scores, unless they are in the recipe."""
        return () if self.groups else self.auxiliary

    def check(self, path: str) -> None:
        """Refuse numbers that are not finite. Raises: RecipeError with the path of the number."""
        for name, group in self.groups.items():
            for at, value in enumerate(group.values):
                if not isfinite(value):
                    place = f'{path}.groups["{name}"].values[{at}]'
                    raise RecipeError(
                        Reason.INVALID_RECIPE, f"{place}: a finite number is required, got {value}", field=place
                    )

    def ranks_in_recipe(self, group: str, units: int, path: str) -> UnitRanks:
        """Return the numbers of the recipe for one group.

        Raises: MismatchError if the group is not among them, or has another number of units.
        """
        if group not in self.groups:
            raise MismatchError(
                Reason.UNIT_MISFIT,
                f"{path}.groups: group {group!r} has no scores; give those of every group of the rule",
                field=f"{path}.groups",
            )
        values = self.groups[group].values
        if len(values) != units:
            place = f'{path}.groups["{group}"].values'
            raise MismatchError(
                Reason.UNIT_MISFIT,
                f"{place}: group {group!r} has {counted(units, 'unit')}, and the rule has "
                f"{counted(len(values), 'score')}; give one for "
                "each unit",
                field=place,
            )
        return ranked(np.array(values, np.float64))

    def unit_ranks(self, units: UnitsToRank) -> UnitRanks:
        """Return the numbers as they were sent. Raises: CheckpointError if one is not finite."""
        if self.groups:
            return ranked(np.array(self.groups[units.group].values, np.float64))
        scores = numbers_of(units.first.auxiliary(UNIT_SCORES).host(), np.float64)
        wrong = np.flatnonzero(~np.isfinite(scores))
        if len(wrong):
            name = units.first.planned.auxiliary[UNIT_SCORES].name
            raise CheckpointError(
                Reason.INVALID_AUXILIARY,
                f"auxiliary tensor {name!r} holds {scores[wrong[0]]} at position {wrong[0]}; scores of units must be "
                f"finite numbers",
                tensor=name,
            )
        return ranked(scores)
