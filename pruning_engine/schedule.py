"""When rules can run: the order of steps as parameters arrive. Knows positions only, no tensors and no rules' sense.

A rule of local scope runs on a parameter at once. A rule of global scope is a barrier: it runs when every
parameter that it selects has come through its earlier rules.
"""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Reach:
    """A parameter has come to a rule of global scope, and waits there."""

    rule: int
    parameter: int


@dataclass(frozen=True, slots=True)
class Run:
    """A rule runs: on one parameter, or, of global scope, on all that it selects, in their order."""

    rule: int
    parameters: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """A parameter has left its last rule."""

    parameter: int


Step: TypeAlias = Reach | Run | Leave


class Schedule:
    """The steps that arrivals set free."""

    def __init__(self, rules: Sequence[Sequence[int]], barriers: Collection[int]) -> None:
        """`rules`: for each parameter its rules, ascending. `barriers`: the rules of global scope."""
        self._rules = rules
        self._missing = {
            barrier: {index for index, chain in enumerate(rules) if barrier in chain} for barrier in barriers
        }
        self._members = {barrier: tuple(sorted(missing)) for barrier, missing in self._missing.items()}
        self._next = [0] * len(rules)

    def add(self, parameter: int) -> Iterator[Step]:
        """A parameter arrives: give the steps that can be taken now, in order."""
        free = deque([parameter])
        while free:
            current = free.popleft()
            chain = self._rules[current]
            if self._next[current] == len(chain):
                yield Leave(current)
                continue
            rule = chain[self._next[current]]
            if rule in self._missing:
                yield Reach(rule, current)
                self._missing[rule].discard(current)
                if self._missing[rule]:
                    continue
                ready = self._members[rule]
            else:
                ready = (current,)
            yield Run(rule, ready)
            for member in ready:
                self._next[member] += 1
            free.extend(ready)
