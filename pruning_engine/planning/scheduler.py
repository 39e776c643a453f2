"""When rules can run: the order of steps as parameters arrive. Knows positions only, no tensors and no rules' sense.

A rule of local scope runs on a parameter at once. A rule of global scope is a barrier: it runs when every
parameter that it selects has come through its earlier rules.
"""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Arrive:
    """A parameter has come to a rule of global scope, and waits there."""

    stage: int
    parameter: int


@dataclass(frozen=True, slots=True)
class Run:
    """A rule runs: on one parameter, or, of global scope, on all that it selects, in their order."""

    stage: int
    parameters: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """A parameter has left its last rule."""

    parameter: int


Step: TypeAlias = Arrive | Run | Finish


class Schedule:
    """The steps that arrivals set free."""

    def __init__(self, rules: Sequence[Sequence[int]], barriers: Collection[int]) -> None:
        """`rules`: for each parameter its rules, ascending. `barriers`: the rules of global scope."""
        self._rules = rules
        self._members = _members(rules, barriers)
        self._missing = {barrier: len(members) for barrier, members in self._members.items()}
        self._next = [0] * len(rules)

    def members(self, barrier: int) -> tuple[int, ...]:
        """Give the parameters that a rule of global scope selects, in order; the same object for all equal ones."""
        return self._members[barrier]

    def add(self, parameter: int) -> Iterator[Step]:
        """A parameter arrives: give the steps that can be taken now, in order."""
        free = deque([parameter])
        while free:
            current = free.popleft()
            chain = self._rules[current]
            if self._next[current] == len(chain):
                yield Finish(current)
                continue
            rule = chain[self._next[current]]
            if rule in self._missing:
                yield Arrive(rule, current)
                self._missing[rule] -= 1
                if self._missing[rule]:
                    continue
                ready = self._members[rule]
            else:
                ready = (current,)
            yield Run(rule, ready)
            for member in ready:
                self._next[member] += 1
            free.extend(ready)


def _members(rules: Sequence[Sequence[int]], barriers: Collection[int]) -> dict[int, tuple[int, ...]]:
    """Give for each barrier the parameters that have it, in order; barriers of the same ones share one tuple."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for index, chain in enumerate(rules):
        alike.setdefault(tuple(chain), []).append(index)
    holders: dict[int, list[tuple[int, ...]]] = {barrier: [] for barrier in barriers}
    for chain in alike:
        for rule in chain:
            if rule in holders:
                holders[rule].append(chain)
    shared: dict[tuple[int, ...], tuple[int, ...]] = {}
    members = {}
    for barrier, chains in holders.items():
        found = tuple(sorted(index for chain in chains for index in alike[chain]))
        members[barrier] = shared.setdefault(found, found)
    return members


def waits(rules: Sequence[tuple[int, ...]], barriers: Collection[int]) -> list[tuple[int, ...]]:
    """Give for each parameter the rules that decide when it leaves: barriers, of several in a row the first one.

    In a row are those that the same parameters come to, each of them from the one before.
    """
    members = _members(rules, barriers)
    chains = {chain: tuple(rule for rule in chain if rule in members) for chain in set(rules)}
    before: dict[int, set[int | None]] = {barrier: set() for barrier in barriers}
    for chain in chains.values():
        for earlier, barrier in zip((None, *chain), chain, strict=False):
            before[barrier].add(earlier)

    def adds_nothing(barrier: int) -> bool:
        earlier = next(iter(before[barrier]), None)
        return len(before[barrier]) == 1 and earlier is not None and members[earlier] is members[barrier]

    kept = {barrier for barrier in barriers if not adds_nothing(barrier)}
    shorter = {chain: tuple(barrier for barrier in short if barrier in kept) for chain, short in chains.items()}
    return [shorter[chain] for chain in rules]
