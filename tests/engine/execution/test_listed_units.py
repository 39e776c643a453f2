"""Units that the caller lists, and how many units a group keeps at least: the ordinary path."""

import pytest
import torch

from pruning_engine import MismatchError, RecipeError
from pruning_engine.recipe import (
    Fraction,
    Kept,
    ListedUnits,
    Recipe,
    Rule,
    Scope,
    UnitList,
    Units,
    UnitScores,
    UnitValues,
    check,
)
from tests.engine.tied import MLP, group, kept, mlp, prune_with, units


@pytest.mark.parametrize(
    "listed",
    [UnitList(kept=(0, 3)), UnitList(pruned=(1, 2)), UnitList(kept_bits=bytes([0b1001]))],
    ids=["kept", "pruned", "bits"],
)
def test_listed_units_are_kept_exactly(listed: UnitList) -> None:
    result = prune_with(mlp(1, 9, 9, 1), units(MLP, amount=None, score=ListedUnits(listed)), output="removed")
    assert result.report.groups[0].kept == (0, 3)
    assert result.state_dict["down.weight"].shape[1] == 2  # type: ignore[attr-defined]


def test_a_group_that_is_not_listed_keeps_all() -> None:
    state_dict = mlp(1, 2, name="a") | mlp(1, 2, name="b")
    each = group("up.weight:0", "up.bias:0", "down.weight:1", for_each="*")
    rule = units(each, amount=None, score=ListedUnits(groups={"a": UnitList(kept=(1,))}))
    assert kept(state_dict, rule) == [(1,), (0, 1)]


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        (UnitList(kept=(4,)), "unit 4 does not exist"),
        (UnitList(pruned=(0, 1, 2, 3)), "no unit"),
        (UnitList(kept_bits=bytes(2)), "1 byte is required, got 2"),
        (UnitList(kept_bits=bytes([0b10001])), "last 4 bits"),
    ],
    ids=["beyond", "none left", "length", "spare bits"],
)
def test_lists_that_do_not_fit_the_group_are_refused(listed: UnitList, says: str) -> None:
    with pytest.raises(MismatchError, match=says):
        prune_with(mlp(1, 2, 3, 4), units(MLP, amount=None, score=ListedUnits(listed)))


@pytest.mark.parametrize(
    "listed",
    [UnitList(), UnitList(kept=(1,), pruned=(2,)), UnitList(kept=(1, 1))],
    ids=["empty", "two", "twice"],
)
def test_lists_that_fit_no_group_are_refused(listed: UnitList) -> None:
    with pytest.raises(RecipeError, match="every_group"):
        check(Recipe((units(MLP, amount=None, score=ListedUnits(listed)),)))


def test_an_unknown_group_is_refused_by_name() -> None:
    rule = units(MLP, amount=None, score=ListedUnits(groups={"other": UnitList(kept=(0,))}))
    with pytest.raises(MismatchError, match="no group 'other'"):
        prune_with(mlp(1, 2), rule)


def test_scores_in_the_recipe_rank_units() -> None:
    rule = units(MLP, score=UnitScores({"up.weight": UnitValues((3.0, 1.0, 2.0, 0.5))}))
    assert kept(mlp(1, 1, 1, 1), rule) == [(0, 2)]


def test_scores_of_another_number_of_units_are_refused() -> None:
    rule = units(MLP, score=UnitScores({"up.weight": UnitValues((3.0, 1.0))}))
    with pytest.raises(MismatchError, match="4 units, and the rule has 2 scores"):
        prune_with(mlp(1, 1, 1, 1), rule)


def test_kept_is_the_number_of_units_left() -> None:
    assert kept(mlp(1, 4, 3, 2), units(MLP, amount=Kept(3))) == [(1, 2, 3)]
    assert kept(mlp(1, 4), units(MLP, amount=Kept(2))) == [(0, 1)]


def test_least_kept_bounds_each_group() -> None:
    state_dict = mlp(1, 1, 1, name="a") | mlp(9, 9, 9, name="b")
    each = group("up.weight:0", "up.bias:0", "down.weight:1", for_each="*")
    rule = units(each, amount=Kept(4), scope=Scope.GLOBAL, least_kept=2)
    assert [len(found) for found in kept(state_dict, rule)] == [2, 2]


def test_balanced_blocks_keep_as_many_each() -> None:
    rule = units(MLP, amount=Fraction(0.5), balanced_blocks=2)
    assert kept(mlp(9, 8, 7, 6, 4, 3, 2, 1), rule) == [(0, 1, 4, 5)]


def test_blocks_that_do_not_divide_the_units_are_refused() -> None:
    with pytest.raises(MismatchError, match="not 3 blocks"):
        prune_with(mlp(1, 2, 3, 4), units(MLP, balanced_blocks=3))


def test_kept_is_for_units_only() -> None:
    with pytest.raises(RecipeError, match="for granularity units"):
        check(Recipe((Rule(score=units(MLP).score, amount=Kept(3)),)))


def test_listed_groups_of_one_config_field_keep_as_many() -> None:
    state_dict = mlp(1, 2, name="a") | mlp(1, 2, name="b")
    each = group("up.weight:0", "up.bias:0", "down.weight:1", for_each="*", width=1)
    rule = units(each, amount=None, score=ListedUnits(groups={"a": UnitList(kept=(1,))}))
    with pytest.raises(MismatchError, match="width stands for both"):
        prune_with(state_dict, rule)


def test_numbers_of_units_need_a_whole_number_from_1() -> None:
    with pytest.raises(RecipeError, match="least_kept"):
        check(Recipe((Rule(score=units(MLP).score, amount=Kept(3), granularity=Units(groups=(MLP,), least_kept=0)),)))
    assert torch.__version__
