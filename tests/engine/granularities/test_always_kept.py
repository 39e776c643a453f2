"""Units that are kept whatever they are worth."""

import pytest
import torch

from pruning_engine import MismatchError, RecipeError
from pruning_engine.granularities.channel_groups import ChannelSlice
from pruning_engine.recipe import Amount, Fraction, Kept, ListedUnits, Random, Rule, Scope, UnitList
from tests.engine.tied import group, kept, prune_with, units

ROWS = {"w": torch.tensor([[1.0], [5.0], [2.0], [4.0], [3.0]])}
TWO = {"a.w": torch.tensor([[1.0], [2.0], [3.0]]), "b.w": torch.tensor([[10.0], [20.0], [30.0]])}


def rows(amount: Amount, *stay: int, **fields: object) -> Rule:
    return units(group("w:0"), amount=amount, always_kept=stay, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("amount", "left"),
    [
        pytest.param(Kept(3), (0, 1, 2), id="among the number kept"),
        pytest.param(Kept(2), (0, 2), id="all that is kept"),
        pytest.param(Fraction(0.4), (0, 1, 2), id="of a part"),
        pytest.param(Fraction(0.9), (0, 2), id="more than a part leaves"),
    ],
)
def test_they_are_kept_before_others(amount: Amount, left: tuple[int, ...]) -> None:
    assert kept(ROWS, rows(amount, 0, 2)) == [left]


def test_groups_that_compete_keep_them() -> None:
    rule = units(group("w:0", for_each="*"), amount=Kept(3), scope=Scope.GLOBAL, always_kept=(0,))
    assert kept(TWO, rule) == [(0,), (0, 2)]


def test_pruned_units_are_kept_too() -> None:
    tensors = {
        "w": torch.tensor([[0.0], [5.0], [0.0], [4.0]]),
        "w:mask_bits": torch.tensor([0b1010], dtype=torch.uint8),
    }
    assert kept(tensors, rows(Kept(2), 0)) == [(0, 1)]


def test_layers_at_random_keep_them() -> None:
    tensors = {f"layers.{layer}.w": torch.ones(2, 2) for layer in range(8)}
    rule = units(group(ChannelSlice("layers.{unit}.*")), amount=Kept(2), score=Random(), always_kept=(0, 7))
    (report,) = prune_with(tensors, rule, output="removed").report.groups
    assert report.kept == (0, 7)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        pytest.param(rows(Kept(1), 0, 2), r"amount\.kept: 1 unit is .* 2 always are \(0, 2\)", id="too few"),
        pytest.param(rows(Kept(3), 5), r"always_kept: group 'w' has no unit 5, only 5", id="outside"),
        pytest.param(
            units(group("w:0"), amount=None, score=ListedUnits(UnitList(pruned=(0,))), always_kept=(0,)),
            r"its unit 0 is not kept",
            id="in a list",
        ),
    ],
)
def test_what_cannot_be_kept_is_refused(rule: Rule, message: str) -> None:
    with pytest.raises(MismatchError, match=message):
        prune_with(ROWS, rule, output="removed")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        pytest.param(rows(Kept(3), 0, 0), "given twice", id="twice"),
        pytest.param(rows(Kept(2), 0, balanced_blocks=2), "leave one of the two out", id="blocks"),
    ],
)
def test_invalid_ones_are_refused(rule: Rule, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        prune_with(ROWS, rule)
