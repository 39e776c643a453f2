"""Rules whose amount is divided among their tensors: from shapes alone, or from what is measured of all tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from pruning_engine.allocations.allocation import Allotted
from pruning_engine.execution.elimination import ranking_of
from pruning_engine.granularities.ranking import RankingContext
from pruning_engine.planning.plan import Plan
from pruning_engine.recipe import Amount, Fraction, Rule, Sparsity
from pruning_engine.report import GroupReport
from pruning_engine.runtime.yield_points import with_yields
from pruning_engine.scores.parameters import ArrivedParameter, DescribedParameter
from pruning_engine.selection.entries import NanKeyError
from pruning_engine.selection.outcome import Outcome

Amounts: TypeAlias = Mapping[tuple[int, str], Amount]
"""The amount of one tensor under a rule, by the rule's position and the name of the tensor."""


def planned_amounts(plan: Plan) -> Amounts:
    """Return the amounts of all rules whose allocation needs no data."""
    found: dict[tuple[int, str], Amount] = {}
    for position, rule in enumerate(plan.recipe.rules):
        if rule.allocation is None or rule.allocation.is_barrier:
            continue
        members = [parameter for parameter in plan.parameters if position in parameter.rules]
        amounts = divided_amount(rule, members, [None] * len(members))
        found |= {(position, member.name): amount for member, amount in zip(members, amounts, strict=True)}
    return found


def divided_amount(rule: Rule, members: Sequence[DescribedParameter], measures: Sequence[object]) -> list[Amount]:
    """Return the amount of each tensor. `measures`: what the rule's allocation measured of each."""
    amount = rule.amount
    if rule.allocation is None or not isinstance(amount, Fraction | Sparsity):
        raise TypeError("a rule without an allocation and a part has nothing to divide")  # validation refuses it
    least = 0.0 if rule.bounds is None else 1.0 - rule.bounds.most
    most = 1.0 if rule.bounds is None else 1.0 - rule.bounds.least
    tensors = [
        Allotted(shape=member.shape, least=least, most=most, measure=measure)
        for member, measure in zip(members, measures, strict=True)
    ]
    densities = rule.allocation.densities(tensors, 1.0 - amount.value)
    return [type(amount)(min(1.0, max(0.0, 1.0 - density))) for density in densities]


class AllocatedRanking:
    """Measures every tensor, divides the amount, and then ranks each tensor on its own."""

    reports: Sequence[GroupReport] = ()

    def __init__(self, rule: Rule, context: RankingContext) -> None:
        self._rule = rule
        self._context = context
        self._measures: dict[str, object] = {}

    def observe(self, parameter: ArrivedParameter) -> None:
        """Measure a parameter."""
        planned, allocation = parameter.planned, self._rule.allocation
        scoring = replace(self._context, members=(planned,)).scoring()
        try:
            measure = None if allocation is None else allocation.measure(parameter, self._rule.score, scoring)
        except NanKeyError:
            self._rule.score.refuse_nan(planned, self._context.position)
        self._measures[planned.name] = measure

    def decide(self, parameters: Sequence[ArrivedParameter]) -> list[Outcome]:
        """Prune each parameter by its part of the amount."""
        members = [parameter.planned for parameter in parameters]
        amounts = divided_amount(self._rule, members, [self._measures.pop(member.name) for member in members])
        return [
            self._outcome(parameter, amount)
            for parameter, amount in with_yields(list(zip(parameters, amounts, strict=True)))
        ]

    def _outcome(self, parameter: ArrivedParameter, amount: Amount) -> Outcome:
        context = replace(self._context, members=(parameter.planned,), amount=amount)
        ranking = ranking_of(self._rule, context)
        ranking.observe(parameter)
        (outcome,) = ranking.decide([parameter])
        return outcome
