"""Where parameters stop on their way: at each rule once, but at a rule of units once for each set of groups that is
decided at one time. Knows names and positions, no data.

Several groups are decided together where they compete (global scope) or must keep the same number of units.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pruning_engine.planning.resolved_groups import ResolvedGroup
from pruning_engine.recipe import Recipe, Scope, Units

Groups = Mapping[int, Sequence[ResolvedGroup]]
"""The groups of each rule of units, by its place in the recipe."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A rule by its place in the recipe, and of a rule of units the groups that are decided here.

    At a barrier parameters wait until all that stop there have come.
    """

    rule: int
    is_barrier: bool
    groups: tuple[ResolvedGroup, ...] = ()


class Stages:
    """Every stop, in order, and those of each parameter."""

    def __init__(self, recipe: Recipe, groups: Groups) -> None:
        self.all: list[Stage] = []
        self._of_rule: dict[int, int] = {}
        self._of_tied: dict[tuple[int, str], list[int]] = {}
        for position, rule in enumerate(recipe.rules):
            if not isinstance(rule.granularity, Units):
                self._of_rule[position] = len(self.all)
                self.all.append(Stage(position, rule.scope is Scope.GLOBAL))
                continue
            for together in _together(groups[position], rule.scope):
                self._add(position, together)

    def of(self, name: str, rules: tuple[int, ...]) -> tuple[int, ...]:
        """Give the stages of a parameter that these rules select, in order."""
        if not self._of_tied:
            return rules  # each stop is a rule
        return tuple(stop for rule in rules for stop in self._at(rule, name))

    def _at(self, rule: int, name: str) -> Sequence[int]:
        return (self._of_rule[rule],) if rule in self._of_rule else self._of_tied[rule, name]

    def _add(self, position: int, together: tuple[ResolvedGroup, ...]) -> None:
        for name in {tie.parameter for group in together for tie in group.ties}:
            self._of_tied.setdefault((position, name), []).append(len(self.all))
        self.all.append(Stage(position, is_barrier=True, groups=together))


def _together(groups: Sequence[ResolvedGroup], scope: Scope) -> Iterator[tuple[ResolvedGroup, ...]]:
    if scope is Scope.GLOBAL:
        yield tuple(groups)
        return
    alike: dict[object, list[ResolvedGroup]] = {}
    for number, group in enumerate(groups):
        alike.setdefault((number,) if group.width_key is None else ("width", group.width_key), []).append(group)
    yield from map(tuple, alike.values())
