"""Which of some units are the least important: by norm, exact near the cut, or by chance.

Candidates are given by the index of their group. Equal ones fall by (group's name, unit's number): the order of groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from pruning_engine.execution.ranking_context import RankingContext
from pruning_engine.execution.unit_importance import Place, Scored, exact_unit_sums, ranks_of, unit_sums
from pruning_engine.granularities.resolved_groups import ResolvedGroup
from pruning_engine.kernels import channel_norms as norms
from pruning_engine.kernels import random_keys as random_scores
from pruning_engine.kernels.backend import Backend, BoolArray, Floats, Integers
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.norm import Norm
from pruning_engine.selection import entries as selection


@dataclass(frozen=True, slots=True)
class Least:
    """Which units of each group are the least, and the largest rank among them; None: there is none, or no rank."""

    falls: Mapping[int, BoolArray]
    largest: float | None


class Order(Protocol):
    """An order of units across groups."""

    def least(self, candidates: Mapping[int, BoolArray], count: int) -> Least:
        """Give the `count` least important of the candidates."""
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
        """Give the least; sums of units that are close to the cut are made again, exactly."""
        groups = np.concatenate([np.full(np.count_nonzero(flags), index) for index, flags in candidates.items()])
        numbers = np.concatenate([np.flatnonzero(flags) for flags in candidates.values()])
        ranks = np.concatenate([self._ranks[index][flags] for index, flags in candidates.items()])

        def exact(places: Integers) -> Floats:
            found = np.empty(len(places))
            for index in np.unique(groups[places]):
                mine = np.flatnonzero(groups[places] == index)
                found[mine] = self._exact(int(index), numbers[places[mine]])
            return found

        cut = norms.cut(ranks, count, self._norm, max(self._entries[index] for index in candidates), exact)
        falls = {index: np.zeros(len(flags), np.bool_) for index, flags in candidates.items()}
        begin = 0
        for index, flags in candidates.items():
            end = begin + int(np.count_nonzero(flags))
            falls[index][numbers[begin:end][cut.falls[begin:end]]] = True
            begin = end
        return Least(falls, cut.largest_fallen)

    def _exact(self, index: int, numbers: Integers) -> Floats:
        sums = exact_unit_sums(self._backend, self._groups[index], self._scored, numbers, self._norm)
        return ranks_of(sums, self._means[index], self._norm)


class ByChance:
    """Units rank at random: by the seed, the rule's position, where the group begins and the unit's number."""

    def __init__(self, ranked: RankingContext, groups: Sequence[ResolvedGroup]) -> None:
        self._ranked = ranked
        self._keys = [random_scores.key_of(ranked.seed, ranked.position, group.place_name) for group in groups]

    def least(self, candidates: Mapping[int, BoolArray], count: int) -> Least:
        """Give the least."""
        host = NumpyBackend()
        contenders = [
            host.random(self._keys[index], len(flags), host.pack(torch.from_numpy(flags)))
            for index, flags in candidates.items()
        ]
        selected = selection.select(contenders, count, tuning=self._ranked.tuning)
        falls = {
            index: flags & ~host.unpack(kept, len(flags)).numpy()
            for (index, flags), kept in zip(candidates.items(), selected.kept, strict=True)
        }
        return Least(falls, None)
