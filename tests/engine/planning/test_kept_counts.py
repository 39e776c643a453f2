"""A number of units to keep that removes nothing: refused, or told."""

import pytest
import torch

from pruning_engine import MismatchError
from pruning_engine.granularities.channel_groups import ChannelSlice
from pruning_engine.recipe import (
    Amount,
    Count,
    Fraction,
    Kept,
    ListedUnits,
    Random,
    Rule,
    Scope,
    Score,
    Sparsity,
    UnitList,
    UnitScores,
    UnitValues,
)
from pruning_engine.report import WarningKind
from tests.engine.tied import group, prune_with, units

TWO = {"a.w": torch.arange(1.0, 7).reshape(3, 2), "b.w": torch.arange(1.0, 11).reshape(5, 2)}
LAYERS = {f"layers.{layer}.w": torch.full((2, 2), float(layer)) for layer in range(3)}


def keep(number: int, scope: Scope = Scope.LOCAL) -> Rule:
    """Keep rows of two tensors, of 3 and 5."""
    return units(group("w:0", for_each="*"), amount=Kept(number), scope=scope)


def keep_layers(number: int, score: Score) -> Rule:
    return units(group(ChannelSlice("layers.{unit}.*")), amount=Kept(number), score=score)


def warnings(tensors: dict[str, torch.Tensor], rule: Rule) -> list[WarningKind]:
    return [warning.kind for warning in prune_with(tensors, rule, output="removed").report.warnings]


def test_more_than_any_group_has_is_refused() -> None:
    with pytest.raises(MismatchError, match=r"rules\[0\]\.amount\.kept: 6 units .* 'a' has only 5"):
        prune_with(TWO, keep(6))


def test_more_than_all_have_together_is_refused() -> None:
    with pytest.raises(MismatchError, match="the 2 groups together have only 8"):
        prune_with(TWO, keep(9, Scope.GLOBAL))


def test_smaller_groups_may_keep_all() -> None:
    assert [len(found.kept) for found in prune_with(TWO, keep(4)).report.groups] == [3, 4]
    assert warnings(TWO, keep(4)) == []


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(keep_layers(3, Random()), id="at random"),
        pytest.param(keep_layers(3, UnitScores({"layers.{unit}.*": UnitValues((1.0, 2.0, 3.0))})), id="by scores"),
        pytest.param(
            units(group(ChannelSlice("layers.{unit}.*")), amount=None, score=ListedUnits(UnitList(kept=(0, 1, 2)))),
            id="listed",
        ),
    ],
)
def test_keeping_all_layers_is_told(rule: Rule) -> None:
    assert warnings(LAYERS, rule) == [WarningKind.NOTHING_PRUNED]


def test_keeping_all_that_were_ranked_is_told() -> None:
    assert warnings(TWO, keep(5)) == [WarningKind.NOTHING_PRUNED]


def amount_of_rows(amount: Amount, scope: Scope = Scope.LOCAL, least: int = 1) -> Rule:
    """Prune rows of two tensors, of 3 and 5."""
    return units(group("w:0", for_each="*"), amount=amount, scope=scope, least_kept=least)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        pytest.param(
            amount_of_rows(Fraction(1.0)),
            "asks for 3 of the 3 units of group 'a' (and of 1 more group), of which 1 is always kept; ask for fewer",
            id="all",
        ),
        pytest.param(amount_of_rows(Fraction(0.9)), "asks for 3 of the 3 units of group 'a', of which 1", id="rounded"),
        pytest.param(amount_of_rows(Sparsity(1.0)), "asks for 3 of the 3 units of group 'a'", id="sparsity"),
        pytest.param(amount_of_rows(Count(3)), "asks for 3 of the 3 units of group 'a', of which 1", id="count"),
        pytest.param(
            amount_of_rows(Count(7), Scope.GLOBAL), "asks for 7 of the 8 units of all groups together, of which 2 are",
            id="together",
        ),
        pytest.param(amount_of_rows(Count(2), least=2), "asks for 2 of the 3 units of group 'a', of which 2", id="two"),
        pytest.param(amount_of_rows(Kept(1), least=3), "asks for 2 of the 3 units of group 'a' (and of 1 m", id="kept"),
    ],
)  # fmt: skip
def test_unit_that_is_kept_all_the_same_is_told(rule: Rule, text: str) -> None:
    (warning,) = prune_with(TWO, rule, output="removed").report.warnings
    assert warning.kind is WarningKind.LEAST_KEPT
    assert warning.message.startswith(f"rules[0].amount {text}")


@pytest.mark.parametrize("amount", [Fraction(0.5), Sparsity(0.6), Count(2), Kept(1)], ids=repr)
def test_amount_that_leaves_a_unit_is_not_told(amount: Amount) -> None:
    assert warnings(TWO, amount_of_rows(amount)) == []
