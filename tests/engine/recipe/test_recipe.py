"""A recipe by itself: what makes no sense whatever the checkpoint is refused, by the path of its field."""

from collections.abc import Callable

import pytest

from pruning_engine import Reason, RecipeError
from pruning_engine.recipe import (
    Amount,
    Channels,
    Count,
    CustomMask,
    Fraction,
    Identity,
    ImportanceScores,
    Magnitude,
    NamedNorm,
    Prior,
    Random,
    Recipe,
    Rule,
    Scope,
    Selector,
    Sparsity,
    check,
)
from tests.engine.rules import l1, ln

NAN = float("nan")


@pytest.mark.parametrize(
    ("amount", "unpruned", "total", "falls"),
    [
        (Fraction(0.5), 5, 9, 2),
        (Fraction(0.5), 7, 9, 4),
        (Fraction(1.0), 7, 9, 7),
        (Count(3), 7, 9, 3),
        (Sparsity(0.5), 8, 10, 3),
        (Sparsity(0.1), 8, 10, 0),
        (Sparsity(1.0), 8, 10, 8),
    ],
)
def test_number_of_pruned_entries(amount: Amount, unpruned: int, total: int, falls: int) -> None:
    assert amount.of(unpruned, total) == falls


@pytest.mark.parametrize(
    ("recipe", "reason", "field"),
    [
        (Recipe(()), Reason.INVALID_RECIPE, "rules"),
        (Recipe((l1(),), seed=-1), Reason.INVALID_RECIPE, "seed"),
        (Recipe((l1(),), seed=2**64), Reason.INVALID_RECIPE, "seed"),
        (Recipe((l1(), Rule(score=Magnitude()))), Reason.INVALID_RECIPE, "rules[1].amount"),
        (Recipe((l1(Fraction(1.1)),)), Reason.AMOUNT_OUT_OF_RANGE, "rules[0].amount.fraction"),
        (Recipe((l1(Fraction(NAN)),)), Reason.AMOUNT_OUT_OF_RANGE, "rules[0].amount.fraction"),
        (Recipe((l1(Sparsity(-0.1)),)), Reason.AMOUNT_OUT_OF_RANGE, "rules[0].amount.sparsity"),
        (Recipe((l1(Count(-1)),)), Reason.AMOUNT_OUT_OF_RANGE, "rules[0].amount.count"),
        (Recipe((Rule(score=Magnitude(2.0), amount=Count(1)),)), Reason.INVALID_NORM, "rules[0].score.magnitude.norm"),
        (
            Recipe((Rule(score=ImportanceScores(2.0), amount=Count(1)),)),
            Reason.INVALID_NORM,
            "rules[0].score.importance_scores.norm",
        ),
        (Recipe((ln(NAN),)), Reason.INVALID_NORM, "rules[0].score.magnitude.norm.p"),
        (Recipe((Rule(score=Identity(), amount=Count(1)),)), Reason.INVALID_RECIPE, "rules[0].amount"),
        (Recipe((Rule(score=CustomMask(), scope=Scope.GLOBAL),)), Reason.INVALID_RECIPE, "rules[0].scope"),
        (Recipe((Rule(score=Identity(), granularity=Channels()),)), Reason.INVALID_RECIPE, "rules[0].granularity"),
    ],
)
def test_invalid_values_are_refused(recipe: Recipe, reason: Reason, field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check(recipe)
    assert (caught.value.reason, caught.value.field) == (reason, field)


@pytest.mark.parametrize(
    "rule",
    [l1(), ln(None), ln(float("-inf")), Rule(score=Random(), amount=Count(0), granularity=Channels(-1))],
)
def test_what_makes_sense_passes(rule: Rule) -> None:
    check(Recipe((rule,)))


def test_words_stand_for_scope_prior_and_norms() -> None:
    rule = Rule(score=Magnitude("nuc"), amount=Fraction(0.5), scope="global", prior="zeros")  # type: ignore[arg-type]

    assert (rule.scope, rule.prior) == (Scope.GLOBAL, Prior.ZEROS)
    assert rule.score == Magnitude(NamedNorm.NUC)
    assert Magnitude(1).norm == 1.0


@pytest.mark.parametrize(
    ("make", "field"),
    [
        pytest.param(lambda: Rule(score=Identity(), scope="all"), "scope", id="scope"),  # type: ignore[arg-type]
        pytest.param(lambda: Rule(score=Identity(), prior="none"), "prior", id="prior"),  # type: ignore[arg-type]
        pytest.param(lambda: Rule(score="l1"), "score", id="score"),  # type: ignore[arg-type]
        pytest.param(lambda: Rule(score=Magnitude(), amount=0.5), "amount", id="amount"),  # type: ignore[arg-type]
        pytest.param(lambda: Rule(score=Magnitude(), granularity="channels"), "granularity", id="granularity"),  # type: ignore[arg-type]
        pytest.param(lambda: Magnitude("l1"), "norm", id="norm"),  # type: ignore[arg-type]
        pytest.param(lambda: Selector(include="a.weight"), "select.include", id="patterns"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_part_of_a_rule_is_refused_by_its_field(make: Callable[[], object], field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        make()

    assert caught.value.field == field


def test_half_a_count_is_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        check(Recipe((Rule(score=Magnitude(), amount=Count(2.5)),)))  # type: ignore[arg-type]

    assert caught.value.reason is Reason.AMOUNT_OUT_OF_RANGE
