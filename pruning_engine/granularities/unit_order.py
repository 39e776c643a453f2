"""Which of some units are the least important: by norm, exact near the cut; by what a score makes of them; by chance.

Candidates are given by the index of their group. Equal ones are pruned by (group's name, unit's number), which is the
order of the groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pruning_engine.granularities.ranking import RankingContext
from pruning_engine.granularities.resolved_groups import ResolvedGroup
from pruning_engine.granularities.unit_importance import Place, Scored, exact_unit_sums, ranks_of, unit_sums
from pruning_engine.kernels.backend import Backend, BoolArray, Floats, Integers
from pruning_engine.kernels.random_keys import key_of
from pruning_engine.norm import Norm
from pruning_engine.scores.unit_inputs import UnitRanks
from pruning_engine.selection.channels import cut
from pruning_engine.selection.random_choice import random_channels


@dataclass(frozen=True, slots=True)
class Least:
    """Which units of each group are the least, and the largest rank among them; None: no unit, or no rank."""

    pruned: Mapping[int, BoolArray]
    largest: float | None


class Order(Protocol):
    """An order of units across groups."""

    def least(self, candidates: Mapping[int, BoolArray], count: int) -> Least:
        """Return the `count` least important of the candidates."""
        ...


class ByNorm:
    """Units rank by their power sums; with `is_mean`, by that of one entry on average, so that groups compare."""

    def __init__(  # noqa: PLR0913 - what was gathered while parameters came
        self,
        backend: Backend,
        groups: Sequence[ResolvedGroup],
        scored: Mapping[str, Scored],
        sums: Mapping[Place, Floats],
        norm: Norm,
        *,
        is_mean: bool,
    ) -> None:
        self._backend = backend
        self._groups = groups
        self._scored = scored
        self._norm = norm
        self._entries = [max(1, group.scored_entries) for group in groups]
        self._means = [entries if is_mean else 1 for entries in self._entries]
        self._ranks = [
            ranks_of(unit_sums(group, sums, norm), mean, norm) for group, mean in zip(groups, self._means, strict=True)
        ]

    def least(self, candidates: Mapping[int, BoolArray], count: int) -> Least:
        """Return the least; sums of units that are close to the cut are made again, exactly."""
        groups = np.concatenate([np.full(np.count_nonzero(flags), index) for index, flags in candidates.items()])
        numbers = np.concatenate([np.flatnonzero(flags) for flags in candidates.values()])
        ranks = np.concatenate([self._ranks[index][flags] for index, flags in candidates.items()])

        def exact(places: Integers) -> Floats:
            found = np.empty(len(places))
            for index in set(groups[places].tolist()):  # numpy.unique would import numpy.ma
                mine = np.flatnonzero(groups[places] == index)
                found[mine] = self._exact(index, numbers[places[mine]])
            return found

        least = cut(ranks, count, self._norm, max(self._entries[index] for index in candidates), exact)
        pruned = {index: np.zeros(len(flags), np.bool_) for index, flags in candidates.items()}
        begin = 0
        for index, flags in candidates.items():
            end = begin + int(np.count_nonzero(flags))
            pruned[index][numbers[begin:end][least.pruned[begin:end]]] = True
            begin = end
        return Least(pruned, least.largest_pruned)

    def _exact(self, index: int, numbers: Integers) -> Floats:
        sums = exact_unit_sums(self._backend, self._groups[index], self._scored, numbers, self._norm)
        return ranks_of(sums, self._means[index], self._norm)


class ByRanks:
    """Units rank by what a score makes of them; within a group, the score says which of equal ones are pruned first."""

    def __init__(self, ranks: Sequence[UnitRanks]) -> None:
        self._ranks = [each.ranks for each in ranks]
        self._places = [np.argsort(each.order) for each in ranks]

    def least(self, candidates: Mapping[int, BoolArray], count: int) -> Least:
        """Return the least."""
        numbers = {index: np.flatnonzero(flags) for index, flags in candidates.items()}
        groups = np.concatenate([np.full(len(units), index) for index, units in numbers.items()])
        units = np.concatenate(list(numbers.values()))
        ranks = np.concatenate([self._ranks[index][units] for index, units in numbers.items()])
        places = np.concatenate([self._places[index][units] for index, units in numbers.items()])
        chosen = np.lexsort((places, groups, ranks))[:count]
        pruned = {index: np.zeros(len(flags), np.bool_) for index, flags in candidates.items()}
        for index, marks in pruned.items():
            marks[units[chosen[groups[chosen] == index]]] = True
        return Least(pruned, float(ranks[chosen[-1]]) if count else None)


class ByChance:
    """Units rank at random: by the seed, the rule's position, where the group begins and the unit's number."""

    def __init__(self, context: RankingContext, groups: Sequence[ResolvedGroup]) -> None:
        self._keys = [key_of(context.seed, context.position, group.place_name) for group in groups]

    def least(self, candidates: Mapping[int, BoolArray], count: int) -> Least:
        """Return the least."""
        keys = [self._keys[index] for index in candidates]
        pruned = random_channels(keys, list(candidates.values()), count)
        return Least(dict(zip(candidates, pruned, strict=True)), None)
