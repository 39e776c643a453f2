"""When stages can run: the order of steps as parameters arrive. Knows positions only.

A stage of local scope runs on a parameter at once. One of global scope is a barrier: it runs when every parameter that
has it has passed its earlier stages.
"""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Arrive:
    """A parameter has arrived at a barrier and waits there."""

    stage: int
    parameter: int


@dataclass(frozen=True, slots=True)
class Run:
    """A stage runs: on one parameter, or at a barrier on all that have it, in their order."""

    stage: int
    parameters: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """A parameter has passed its last stage."""

    parameter: int


Step: TypeAlias = Arrive | Run | Finish


class Schedule:
    """The steps that each arrival makes possible."""

    def __init__(self, stages: Sequence[Sequence[int]], barriers: Collection[int]) -> None:
        """`stages`: for each parameter its stages, ascending. `barriers`: those at which parameters wait."""
        self._stages = stages
        self._members = _members(stages, barriers)
        self._missing = {barrier: len(members) for barrier, members in self._members.items()}
        self._next = [0] * len(stages)

    def members(self, barrier: int) -> tuple[int, ...]:
        """Return the parameters that wait at a barrier, in order; equal results are the same object."""
        return self._members[barrier]

    def add(self, parameter: int) -> Iterator[Step]:
        """Return the steps that can be taken now that a parameter arrives, in order; to be exhausted."""
        free = deque([parameter])
        while free:
            current = free.popleft()
            chain = self._stages[current]
            if self._next[current] == len(chain):
                yield Finish(current)
                continue
            stage = chain[self._next[current]]
            if stage in self._missing:
                yield Arrive(stage, current)
                self._missing[stage] -= 1
                if self._missing[stage]:
                    continue
                ready = self._members[stage]
            else:
                ready = (current,)
            yield Run(stage, ready)
            for member in ready:
                self._next[member] += 1
            free.extend(ready)


def _members(stages: Sequence[Sequence[int]], barriers: Collection[int]) -> dict[int, tuple[int, ...]]:
    """Return for each barrier the parameters that have it, in order; barriers of the same ones share one tuple."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for index, chain in enumerate(stages):
        alike.setdefault(tuple(chain), []).append(index)
    holders: dict[int, list[tuple[int, ...]]] = {barrier: [] for barrier in barriers}
    for chain in alike:
        for stage in chain:
            if stage in holders:
                holders[stage].append(chain)
    shared: dict[tuple[int, ...], tuple[int, ...]] = {}
    members = {}
    for barrier, chains in holders.items():
        found = tuple(sorted(index for chain in chains for index in alike[chain]))
        members[barrier] = shared.setdefault(found, found)
    return members


def waits(stages: Sequence[tuple[int, ...]], barriers: Collection[int]) -> list[tuple[int, ...]]:
    """Return for each parameter the stages that decide when it leaves: barriers, and of several in a row the first.

    Barriers are in a row if the same parameters have them, each right after the one before.
    """
    members = _members(stages, barriers)
    chains = {chain: tuple(stage for stage in chain if stage in members) for chain in set(stages)}
    before: dict[int, set[int | None]] = {barrier: set() for barrier in barriers}
    for chain in chains.values():
        for earlier, barrier in zip((None, *chain), chain, strict=False):
            before[barrier].add(earlier)

    def adds_nothing(barrier: int) -> bool:
        earlier = next(iter(before[barrier]), None)
        return len(before[barrier]) == 1 and earlier is not None and members[earlier] is members[barrier]

    kept = {barrier for barrier in barriers if not adds_nothing(barrier)}
    shorter = {chain: tuple(barrier for barrier in short if barrier in kept) for chain, short in chains.items()}
    return [shorter[chain] for chain in stages]
