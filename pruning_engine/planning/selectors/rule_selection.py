"""Which rules act on which parameters, and why none acts on the others. Knows names, dtypes and dims."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from pruning_engine.checkpoints.parameters import Parameters, TensorDescription
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.planning.selectors.name_patterns import Pattern, compile_selector
from pruning_engine.planning.selectors.not_selected import NotSelected
from pruning_engine.planning.selectors.unmatched_patterns import refuse_unmatched
from pruning_engine.planning.stages import Groups
from pruning_engine.recipe import OutputForm, Recipe, Selector
from pruning_engine.runtime.yield_points import with_yields

_NAMES_BETWEEN_YIELDS: Final = 256
"""Names that are matched between two yields, unless 1,000 patterns make them take long."""


@dataclass(frozen=True, slots=True)
class Selected:
    """The rules that select one parameter; if none does, why."""

    rules: tuple[int, ...]
    refusal: NotSelected | None


def select(recipe: Recipe, parameters: Parameters, groups: Groups, output: OutputForm) -> list[Selected]:
    """Return the rules of each parameter.

    Raises: MismatchError for a rule that selects none, and for a pattern that matches the name of none.
    """
    selection = _Selection(recipe, _coupled(groups, output))
    weights = with_yields(parameters.weights.items(), _NAMES_BETWEEN_YIELDS)
    found = [selection.of(name, parameters.names(name), weight) for name, weight in weights]
    refuse_unmatched(selection.patterns(), parameters)
    _refuse_idle_rules(recipe, found)
    return found


def _coupled(groups: Groups, output: OutputForm) -> Mapping[str, tuple[int, ...]]:
    """Return the rules of coupled channels that act on each parameter; on running statistics only for REMOVED."""
    found: dict[str, set[int]] = {}
    for position, each in groups.items():
        for tie in (tie for group in each for tie in group.ties):
            if tie.is_zeroed or output is OutputForm.REMOVED:
                found.setdefault(tie.parameter, set()).add(position)
        for name in (name for group in each for tie in group.numbered for name in tie.scored):
            found.setdefault(name, set()).add(position)
    return {name: tuple(sorted(positions)) for name, positions in found.items()}


class _Selection:
    """Which rules select a parameter.

    Planning 100 rules for 100,000 tensors depends on two caches: rules of equal selectors are matched once, and
    parameters of the same rules share one tuple (and one `Selected`).
    """

    def __init__(self, recipe: Recipe, coupled: Mapping[str, tuple[int, ...]]) -> None:
        self._coupled = coupled
        positions: dict[Selector, list[int]] = {}
        for position, rule in enumerate(recipe.rules):
            if rule.granularity.takes_select:
                positions.setdefault(rule.select, []).append(position)
        self._positions = list(positions.values())
        self._choices = [compile_selector(select, f"rules[{at[0]}].select") for select, at in positions.items()]
        self._selected: dict[tuple[NotSelected | None, ...], Selected] = {}
        self._rules: dict[tuple[int, ...], tuple[int, ...]] = {}

    def patterns(self) -> Iterator[Pattern]:
        """Return the patterns of all rules, in order; those of equal selectors once."""
        return chain.from_iterable(choice.patterns for choice in self._choices)

    def of(self, name: str, names: tuple[str, ...], weight: TensorDescription) -> Selected:
        """Return the rules that select a parameter; if none does, the first reason that says more than its name."""
        refusals = tuple(choice.refuses(names, weight.dtype, len(weight.shape)) for choice in self._choices)
        if refusals not in self._selected:
            self._selected[refusals] = self._select(refusals)
        selected = self._selected[refusals]
        if name not in self._coupled:
            return selected
        return Selected(tuple(sorted({*selected.rules, *self._coupled[name]})), None)

    def _select(self, refusals: tuple[NotSelected | None, ...]) -> Selected:
        groups = zip(self._positions, refusals, strict=True)
        rules = tuple(sorted(at for group, refusal in groups if refusal is None for at in group))
        if rules:
            return Selected(self._rules.setdefault(rules, rules), None)
        reasons = (refusal for refusal in refusals if refusal is not NotSelected.NAME)
        return Selected((), next(reasons, NotSelected.NAME))


def _refuse_idle_rules(recipe: Recipe, selected: Sequence[Selected]) -> None:
    acting = {position for rules in {each.rules for each in selected} for position in rules}
    for position, rule in enumerate(recipe.rules):
        if position not in acting and rule.granularity.takes_select:
            patterns = f"include {list(rule.select.include)}" if rule.select.include else "the default targets"
            raise MismatchError(
                Reason.SELECTS_NOTHING,
                f"rules[{position}].select selects none of the {len(selected)} parameters ({patterns}, "
                f"exclude {list(rule.select.exclude)}); name tensors of the checkpoint{_hint(rule.select)}",
                field=f"rules[{position}].select",
            )


def _hint(select: Selector) -> str:
    """Return why patterns that match names may select nothing."""
    if not select.include:
        return ""
    return ": patterns with wildcards select floating point tensors of 2 dims or more, others are named in full"
