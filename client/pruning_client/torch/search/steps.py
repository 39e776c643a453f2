"""The procedures: the search for one amount, and for the amounts of groups. They know no client."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

from torch import nn

from pruning_client.calls.request import Path, Rules, recipe_of
from pruning_client.errors import MismatchError, recipe_error
from pruning_client.results.report import Report
from pruning_client.rules.rule import Rule
from pruning_client.statistics.statistics import Statistics
from pruning_client.torch.procedures import Procedure
from pruning_client.torch.search.bracket import Search, largest_within
from pruning_client.torch.search.measuring import Measuring
from pruning_client.torch.search.result import FoundAmounts
from pruning_client.torch.search.shares import sensitivity, shares
from pruning_client.torch.search.trials import Evaluate, Trials
from pruning_proto.reasons import Reason

Better: TypeAlias = Literal["higher", "lower"]

_ALL: Final = "all"
_PROBES: Final = (0.5, 0.8)
"""The amounts at which the sensitivity of a group is measured, as parts of the highest."""

_LEAST_AMOUNT: Final = 1e-4


class GroupRules(Protocol):
    """Returns the rules for an amount of the tensors that some patterns name: a builder of `rules`."""

    def __call__(self, amount: float, *, include: Any) -> Rules:
        """Return the rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How the search is done: see `find_amount`."""

    max_loss: float
    better: Better
    statistics: Statistics | Path | None
    highest: float
    tolerance: float
    most_evaluations: int

    def __post_init__(self) -> None:
        """Refuse values out of range. Raises: RecipeError."""
        _check(self.max_loss, self.better, self.highest, self.tolerance, self.most_evaluations)

    def search(self, known: Mapping[float, float] | None = None) -> Search:
        """Return a new search."""
        return largest_within(self.max_loss, self.highest, self.tolerance, self.most_evaluations, known)

    def measuring(self, model: nn.Module, evaluate: Evaluate) -> Measuring:
        """Return a model to prune and evaluate."""
        return Measuring(Trials(model, self.statistics), model, evaluate, self.better)


def amount_steps(
    model: nn.Module, rules: Callable[[float], Rules], evaluate: Evaluate, options: SearchOptions
) -> Procedure[FoundAmounts]:
    """Look for the largest amount."""
    measuring = options.measuring(model, evaluate)

    def loss_of(amount: float) -> Procedure[float]:
        evaluation, _ = yield from measuring.measure(rules(amount), {_ALL: amount})
        return evaluation.loss

    with measuring.trials.restoring():
        measuring.measure_dense([_ALL])
        yield from _search(options.search(), loss_of)
    return measuring.found(options.max_loss)


def amounts_steps(
    model: nn.Module,
    rules: GroupRules,
    evaluate: Evaluate,
    groups: Mapping[str, str | Sequence[str]],
    options: SearchOptions,
) -> Procedure[FoundAmounts]:
    """Look for the largest amounts of groups."""
    measuring, max_loss, highest = options.measuring(model, evaluate), options.max_loss, options.highest

    def loss_of(amounts: Mapping[str, float]) -> Procedure[float]:
        evaluation, _ = yield from measuring.measure(_rules_of(rules, groups, amounts), amounts)
        return evaluation.loss

    with measuring.trials.restoring():
        measuring.measure_dense(list(groups))
        sensitivities = {}
        owners: dict[str, str] = {}
        for name, patterns in groups.items():
            probes, report = [], None
            for part in _PROBES:
                amount = part * highest
                amounts = {each: amount if each == name else 0.0 for each in groups}
                probed = measuring.measure(rules(amount, include=patterns), amounts, is_probe=True)
                evaluation, report = yield from probed
                probes.append((amount, evaluation.loss))
            _check_apart(report, name, owners)
            entries = 0 if report is None else report.entries
            sensitivities[name] = sensitivity(entries, probes, max(max_loss, 1e-12) * 1e-3)
        yield from _search(options.search(), lambda amount: loss_of(shares(sensitivities, amount, highest)))
        amount = min(measuring.found(max_loss).sparsity, highest)
        loss = math.inf
        if amount > 0:
            loss = yield from loss_of(dict.fromkeys(groups, amount))
        if loss <= max_loss:
            known = {amount: loss, highest: math.inf}
            yield from _search(options.search(known), lambda amount: loss_of(dict.fromkeys(groups, amount)))
    return measuring.found(max_loss)


def _rules_of(rules: GroupRules, groups: Mapping[str, Any], amounts: Mapping[str, float]) -> list[Rule]:
    used = {name: amount for name, amount in amounts.items() if amount >= _LEAST_AMOUNT}
    if not used:
        name = next(iter(groups))
        used = {name: 0.0}
    return [
        rule for name, amount in used.items() for rule in recipe_of(rules(amount, include=groups[name]), None).rules
    ]


def _search(search: Search, loss_of: Callable[[float], Procedure[float]]) -> Procedure[None]:
    try:
        amount = next(search)
        while True:
            loss = yield from loss_of(amount)
            amount = search.send(loss)
    except StopIteration:
        pass


def _check_apart(report: Report | None, group: str, owners: dict[str, str]) -> None:
    for tensor in () if report is None else report.tensors:
        other = owners.setdefault(tensor.name, group)
        if other != group:
            raise MismatchError(
                f"{tensor.name!r} is in the groups {other!r} and {group!r}; let each tensor be in one",
                metadata={"tensor": tensor.name},
            )


def _check(max_loss: float, better: str, highest: float, tolerance: float, most: int) -> None:
    checks = {
        "max_loss": (max_loss >= 0 and math.isfinite(max_loss), f"a loss is 0 or more, got {max_loss!r}"),
        "better": (better in {"higher", "lower"}, f"this is 'higher' or 'lower', got {better!r}"),
        "highest": (0 < highest <= 1, f"an amount is above 0 and at most 1, got {highest!r}"),
        "tolerance": (0 < tolerance < 1, f"amounts differ by more than 0 and less than 1, got {tolerance!r}"),
        "most_evaluations": (most >= 1, f"at least one evaluation is needed, got {most!r}"),
    }
    for name, (is_valid, description) in checks.items():
        if not is_valid:
            raise recipe_error(Reason.INVALID_RECIPE, name, description)
