"""The verbs: the largest amount, and the largest amounts of groups, within a loss that the caller measures."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Final, Literal, Protocol, TypeAlias

from torch import nn

from pruning_client.calls.request import Rules, rules_in
from pruning_client.errors import MismatchError, recipe_error
from pruning_client.results.report import Report
from pruning_client.statistics.statistics import Statistics
from pruning_client.torch.pruner import Pruner
from pruning_client.torch.search.bracket import Search, largest_within
from pruning_client.torch.search.result import Evaluation, FoundAmounts
from pruning_client.torch.search.shares import sensitivity, shares
from pruning_client.torch.search.trials import Evaluate, Trials
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

Better: TypeAlias = Literal["higher", "lower"]

_ALL: Final = "all"
_SURELY_WORSE: Final = 0.9
"""A model that lost this much and evaluates better than before is evaluated the wrong way round."""

_PROBES: Final = (0.5, 0.8)
"""The amounts at which the sensitivity of a group is measured, as parts of the highest."""

_LEAST_AMOUNT: Final = 1e-4


class GroupRules(Protocol):
    """Returns the rules for an amount of the tensors that some patterns name: a builder of `rules`."""

    def __call__(self, amount: float, *, include: Any) -> Rules:
        """Return the rules."""


@dataclass(slots=True)
class _Measuring:
    """A model that is pruned and evaluated, and what came of it."""

    trials: Trials
    model: nn.Module
    evaluate: Evaluate
    better: str
    dense: float = 0.0
    history: list[Evaluation] = field(default_factory=list)
    rules: dict[int, Rules] = field(default_factory=dict)

    def measure_dense(self, names: Sequence[str]) -> None:
        """Evaluate the model as it is."""
        self.dense = self._score()
        if not math.isfinite(self.dense):
            raise MismatchError(
                f"evaluate returned {self.dense} for the model as it is: there is nothing to compare with"
            )
        self.history.append(Evaluation(dict.fromkeys(names, 0.0), 0.0, self.dense, 0.0))

    def measure(
        self, rules: Rules, amounts: Mapping[str, float], *, is_probe: bool = False
    ) -> tuple[Evaluation, Report]:
        """Prune by rules, and evaluate."""
        report = self.trials.prune(rules)
        score = self._score()
        loss = self.dense - score if self.better == "higher" else score - self.dense
        loss = loss if math.isfinite(loss) else math.inf
        if loss < 0 and min(amounts.values()) >= _SURELY_WORSE:
            other = "lower" if self.better == "higher" else "higher"
            raise MismatchError(
                f"evaluate returned {self.dense:g} for the model as it is and {score:g} with {report.sparsity:.0%} of "
                f"the selected weights pruned, better where {self.better} is; say better={other!r} if it is not"
            )
        evaluation = Evaluation(dict(amounts), report.sparsity, score, loss, is_probe)
        self.rules[len(self.history)] = rules
        self.history.append(evaluation)
        return evaluation, report

    def _score(self) -> float:
        score = self.evaluate(self.model)
        try:
            return float(score)
        except (TypeError, ValueError) as error:
            raise TypeError(f"evaluate returns a number for a model, got {score!r}") from error

    def found(self, max_loss: float) -> FoundAmounts:
        """Return the best of all evaluations."""
        within = [each for each in self.history if each.loss <= max_loss and not each.is_probe]
        best = max(within, key=lambda each: (each.sparsity, -each.loss))
        position = next(number for number, each in enumerate(self.history) if each is best)
        return FoundAmounts(best=best, rules=self.rules.get(position), history=tuple(self.history), max_loss=max_loss)


def find_amount(  # noqa: PLR0913 - one keyword for each option
    client: Pruner,
    model: nn.Module,
    rules: Callable[[float], Rules],
    evaluate: Evaluate,
    *,
    max_loss: float,
    better: Better = "higher",
    statistics: Statistics | str | PathLike[str] | None = None,
    highest: float = 0.95,
    tolerance: float = 0.01,
    most_evaluations: int = 10,
) -> FoundAmounts:
    """Return the largest amount at which the pruned model evaluates no more than `max_loss` worse than the dense one.

    `rules` returns the rules for an amount, a float between 0 and 1: a builder such as `rules.l1_unstructured`, or a
    function of your own. `evaluate(model)` returns a number, such as an accuracy; `better="lower"` if less is better,
    as of a perplexity. `max_loss` is in its unit. What is returned was evaluated, not predicted; on other data it may
    differ.

    The search looks at 0 and `highest`, and between the largest amount within the limit and the next one above it that
    is not, until they differ by `tolerance` or `most_evaluations` are done (without the dense model's). Each amount is
    pruned from the original weights. They are in the model again afterwards, also after an error; prune with the
    result's `rules`.

    Raises: MismatchError if the model with `highest` pruned, 0.9 or more, evaluates better than before. RecipeError for
    an invalid option. Errors of `Client.prune`; whatever `evaluate` raises.
    Cost: the selected weights once more in memory.
    """
    _check(max_loss, better, highest, tolerance, most_evaluations)
    measuring = _Measuring(Trials(client, model, statistics), model, evaluate, better)
    with measuring.trials.restoring():
        measuring.measure_dense([_ALL])
        search = largest_within(max_loss, highest, tolerance, most_evaluations)
        _search(search, lambda amount: measuring.measure(rules(amount), {_ALL: amount})[0].loss)
    return measuring.found(max_loss)


def find_amounts(  # noqa: PLR0913 - one keyword for each option
    client: Pruner,
    model: nn.Module,
    rules: GroupRules,
    evaluate: Evaluate,
    *,
    groups: Mapping[str, str | Sequence[str]],
    max_loss: float,
    better: Better = "higher",
    statistics: Statistics | str | PathLike[str] | None = None,
    highest: float = 0.95,
    tolerance: float = 0.01,
    most_evaluations: int = 10,
) -> FoundAmounts:
    """Return amounts for groups of tensors at which the pruned model evaluates no more than `max_loss` worse.

    `groups` are patterns of names by the name of the group; `rules(amount, include=patterns)` returns the rules of one,
    as the builders of `rules` do. First each group is pruned alone, at two amounts, and evaluated: its sensitivity.
    Then a search as in `find_amount` looks for the largest sparsity of all groups together, divided by sensitivity. If
    the same amount in each group is within the limit at that sparsity too, a larger one is looked for among those. All
    else is as in `find_amount`; `most_evaluations` counts those of each search, without the two of each group.

    Raises: as `find_amount`. MismatchError if a tensor is in two groups.
    """
    _check(max_loss, better, highest, tolerance, most_evaluations)
    if not groups:
        raise recipe_error(Reason.INVALID_RECIPE, "groups", "name at least one group, with its patterns")
    measuring = _Measuring(Trials(client, model, statistics), model, evaluate, better)

    def measure(amounts: Mapping[str, float]) -> Evaluation:
        return measuring.measure(_rules_of(rules, groups, amounts), amounts)[0]

    with measuring.trials.restoring():
        measuring.measure_dense(list(groups))
        sensitivities = {}
        owners: dict[str, str] = {}
        for name, patterns in groups.items():
            probes, report = [], None
            for part in _PROBES:
                amount = part * highest
                amounts = {each: amount if each == name else 0.0 for each in groups}
                evaluation, report = measuring.measure(rules(amount, include=patterns), amounts, is_probe=True)
                probes.append((amount, evaluation.loss))
            _check_apart(report, name, owners)
            entries = 0 if report is None else report.entries
            sensitivities[name] = sensitivity(entries, probes, max(max_loss, 1e-12) * 1e-3)
        search = largest_within(max_loss, highest, tolerance, most_evaluations)
        _search(search, lambda amount: measure(shares(sensitivities, amount, highest)).loss)
        amount = min(measuring.found(max_loss).sparsity, highest)
        loss = measure(dict.fromkeys(groups, amount)).loss if amount > 0 else math.inf
        if loss <= max_loss:
            known = {amount: loss, highest: math.inf}
            search = largest_within(max_loss, highest, tolerance, most_evaluations, known)
            _search(search, lambda amount: measure(dict.fromkeys(groups, amount)).loss)
    return measuring.found(max_loss)


def _rules_of(rules: GroupRules, groups: Mapping[str, Any], amounts: Mapping[str, float]) -> list[pb.Rule]:
    used = {name: amount for name, amount in amounts.items() if amount >= _LEAST_AMOUNT}
    if not used:
        name = next(iter(groups))
        used = {name: 0.0}
    return [rule for name, amount in used.items() for rule in rules_in(rules(amount, include=groups[name]))]


def _search(search: Search, loss_of: Callable[[float], float]) -> None:
    try:
        amount = next(search)
        while True:
            amount = search.send(loss_of(amount))
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
