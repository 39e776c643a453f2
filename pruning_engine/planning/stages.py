"""The stages of a recipe: one for each rule, but for a rule of coupled channels one for each set of groups that is
decided together; and one for each bias that a rule's update changes. Knows names and positions, no data.

Groups are decided together where they compete (global scope), must keep the same number of units, or couple the same
tensors: those are then read once for all of them, such as for the experts that are slices of one tensor.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pruning_engine.granularities.resolved_groups import ResolvedGroup
from pruning_engine.planning.bias_updates import Biases, BiasOf
from pruning_engine.recipe import Recipe, Rule, Scope

Groups: TypeAlias = Mapping[int, Sequence[ResolvedGroup]]
"""The groups of each rule of coupled channels, by its position in the recipe."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A rule by its position in the recipe, and the groups that are decided here if it prunes coupled channels.

    `bias`: a weight and its bias where this is the rule's update of the bias, and nothing is pruned. At a barrier
    parameters wait until all that have this stage have arrived.
    """

    rule: int
    is_barrier: bool
    groups: tuple[ResolvedGroup, ...] = ()
    bias: BiasOf | None = None


class Stages:
    """Every stage, in order, and those of each parameter."""

    def __init__(self, recipe: Recipe, groups: Groups, biases: Biases) -> None:
        self.all: list[Stage] = []
        self._are_rules = not groups and not any(biases.values())
        self._of_rule: dict[int, int] = {}
        self._of_coupled: dict[tuple[int, str], list[int]] = {}
        self._of_bias: dict[str, list[int]] = {}
        for position, rule in enumerate(recipe.rules):
            if position not in groups:
                self._of_rule[position] = len(self.all)
                self.all.append(Stage(position, _is_barrier(rule)))
            for together in _together(groups.get(position, ()), rule.scope):
                self._add(position, together)
            for bias in biases.get(position, ()):
                self._add_bias(position, bias)

    def of(self, name: str, rules: tuple[int, ...]) -> tuple[int, ...]:
        """Return the stages of a parameter that these rules select, in order."""
        if self._are_rules:
            return rules
        stages = [stage for rule in rules for stage in self._at(rule, name)]
        return tuple(sorted([*stages, *self._of_bias.get(name, ())]))

    def _at(self, rule: int, name: str) -> Sequence[int]:
        return (self._of_rule[rule],) if rule in self._of_rule else self._of_coupled[rule, name]

    def _add(self, position: int, together: tuple[ResolvedGroup, ...]) -> None:
        for name in {name for group in together for name in group.ranked_names}:
            self._of_coupled.setdefault((position, name), []).append(len(self.all))
        self.all.append(Stage(position, is_barrier=True, groups=together))

    def _add_bias(self, position: int, bias: BiasOf) -> None:
        for name in (bias.weight, bias.bias):
            self._of_bias.setdefault(name, []).append(len(self.all))
        self.all.append(Stage(position, is_barrier=True, bias=bias))


def _is_barrier(rule: Rule) -> bool:
    """Whether a rule needs all its tensors before it prunes one: they compete, or their shares depend on their data."""
    return rule.scope is Scope.GLOBAL or (rule.allocation is not None and rule.allocation.is_barrier)


def _together(groups: Sequence[ResolvedGroup], scope: Scope) -> Iterator[tuple[ResolvedGroup, ...]]:
    if scope is Scope.GLOBAL and groups:
        yield tuple(groups)
        return
    alike: dict[object, list[ResolvedGroup]] = {}
    wide = _of_different_units(groups)
    for group in groups:
        is_alone = group.width_key is None or (group.numbered and group.width_key not in wide)
        alike.setdefault(frozenset(group.ranked_names) if is_alone else ("width", group.width_key), []).append(group)
    yield from map(tuple, alike.values())


def _of_different_units(groups: Sequence[ResolvedGroup]) -> set[object]:
    """Return the widths that groups of different numbers of units share.

    Others are decided alone where their units are whole tensors, so that not all of these are held: an amount leaves as
    many units of each, but for those that were pruned before, and lists of units are checked for it.
    """
    units: dict[object, int] = {}
    return {group.width_key for group in groups if units.setdefault(group.width_key, group.units) != group.units}
