"""N:M: in each group of m consecutive entries along the last dim, the n most important are kept."""

import pytest
import torch

from pruning_engine import MismatchError, Reason, RecipeError, prune_state_dict
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import (
    Count,
    CustomMask,
    Identity,
    ImportanceScores,
    Magnitude,
    NOfM,
    Norm,
    Prior,
    Random,
    Recipe,
    Rule,
    Scope,
    Score,
    Selector,
    WeightedMagnitude,
    check,
)
from pruning_engine.report import WarningKind
from tests.engine.packed import pack
from tests.engine.rules import recipe

TWO_OF_FOUR = NOfM(2, 4)


def kept(weight: torch.Tensor, rule: Rule, **auxiliary: torch.Tensor) -> list[list[bool]]:
    state_dict = {"weight": weight} | {f"weight:{suffix}": tensor for suffix, tensor in auxiliary.items()}
    result = prune_state_dict(state_dict, recipe(rule), output="masked").state_dict["weight_mask"]
    assert isinstance(result, torch.Tensor)
    masks: list[list[bool]] = result.reshape(-1, weight.shape[-1]).tolist()
    return masks


def rule(score: Score, granularity: NOfM = TWO_OF_FOUR) -> Rule:
    return Rule(score=score, granularity=granularity)


def test_two_of_four_are_kept_in_each_group() -> None:
    weight = torch.tensor([[1.0, -4.0, 3.0, 2.0, 8.0, 7.0, 6.0, 5.0]])
    assert kept(weight, rule(Magnitude())) == [[False, True, True, False, True, True, False, False]]


def test_among_equal_entries_the_earlier_ones_are_pruned() -> None:
    assert kept(torch.ones(1, 4), rule(Magnitude(), NOfM(1, 4))) == [[False, False, False, True]]


def test_entries_that_were_pruned_before_are_pruned_first() -> None:
    bits = pack(torch.tensor([[True, True, False, True, False, False, False, True]]))
    weight = torch.tensor([[1.0, 2.0, 9.0, 3.0, 9.0, 9.0, 9.0, 1.0]])
    assert kept(weight, rule(Magnitude()), mask_bits=bits) == [
        [False, True, False, True, False, False, False, True],
    ]


def test_zeros_count_as_pruned_where_the_rule_says_so() -> None:
    zeros = Rule(score=Magnitude(), granularity=NOfM(3, 4), prior=Prior.ZEROS)
    assert kept(torch.tensor([[0.0, 0.0, 1.0, 2.0]]), zeros) == [[False, False, True, True]]


@pytest.mark.parametrize("score", [ImportanceScores(), WeightedMagnitude(), Random()], ids=lambda score: score.field)
def test_every_score_that_ranks_goes_with_it(score: Score) -> None:
    auxiliary = {
        "importance_scores": {"scores": torch.tensor([[4.0, 3.0, 2.0, 1.0]])},
        "weighted_magnitude": {"in_norm": torch.tensor([4.0, 3.0, 2.0, 1.0])},
        "random": {},
    }[score.field]
    (mask,) = kept(torch.ones(1, 4), rule(score), **auxiliary)
    assert mask == [True, True, False, False] if auxiliary else sum(mask) == 2


def test_a_convolution_is_grouped_along_its_last_dim() -> None:
    weight = torch.arange(16.0).reshape(2, 2, 1, 4)
    assert kept(weight, rule(Magnitude(), NOfM(1, 2))) == [[False, True, False, True]] * 4


def test_groups_can_be_along_any_dim() -> None:
    weight = torch.arange(8.0).reshape(4, 2)
    assert kept(weight, rule(Magnitude(), NOfM(1, 2, dim=0))) == [[False, False], [True, True]] * 2


def test_a_tensor_that_is_not_whole_groups_can_be_left_as_it_is() -> None:
    left = rule(Magnitude(), NOfM(1, 4, allow_dense=True))
    assert kept(torch.ones(1, 10), left) == [[True] * 10]
    assert kept(torch.ones(1, 4), left) == [[False, False, False, True]]
    (warning,) = make_plan(recipe(left), [TensorSpec("weight", "F32", (1, 10))]).warnings
    assert (warning.kind, warning.tensor) == (WarningKind.LEFT_DENSE, "weight")


def test_a_dim_that_the_tensor_lacks_is_refused() -> None:
    with pytest.raises(MismatchError, match="allowed dims: -2 to 1") as caught:
        kept(torch.ones(2, 4), rule(Magnitude(), NOfM(1, 4, dim=2)))
    assert (caught.value.reason, caught.value.field) == (Reason.DIM_OUT_OF_RANGE, "rules[0].granularity.n_of_m.dim")


def test_a_last_dim_that_is_not_whole_groups_is_refused_with_the_sizes_that_are() -> None:
    with pytest.raises(MismatchError, match=r"10 entries .* n = 1: 2, 5, 10\.") as caught:
        kept(torch.ones(2, 10), rule(Magnitude(), NOfM(1, 4)))
    assert (caught.value.reason, caught.value.field) == (Reason.SHAPE_MISMATCH, "rules[0].granularity.n_of_m.m")


def test_a_tensor_without_dims_is_refused() -> None:
    with pytest.raises(MismatchError, match=r"allowed m .* none"):
        prune_state_dict(
            {"w": torch.tensor(1.0)}, recipe(Rule(score=Magnitude(), granularity=NOfM(1, 2), select=Selector(("w",))))
        )


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (rule(Magnitude(), NOfM(0, 4)), "granularity.n_of_m.n"),
        (rule(Magnitude(), NOfM(4, 4)), "granularity.n_of_m.n"),
        (rule(Magnitude(), NOfM(1, 33)), "granularity.n_of_m.m"),
        (rule(Magnitude(), NOfM(1, 1)), "granularity.n_of_m.m"),
        (Rule(score=Magnitude(), granularity=TWO_OF_FOUR, amount=Count(1)), "amount"),
        (Rule(score=Magnitude(), granularity=TWO_OF_FOUR, scope=Scope.GLOBAL), "scope"),
        (rule(Identity()), "granularity"),
        (rule(CustomMask()), "granularity"),
    ],
    ids=["n 0", "n of all", "m too large", "m too small", "amount", "scope", "identity", "custom mask"],
)
def test_what_does_not_go_with_it_is_refused(asked: Rule, field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check(Recipe((asked,)))
    assert caught.value.field == f"rules[0].{field}"


@pytest.mark.parametrize("norm", [2.0, 1.0])
def test_a_norm_is_refused(norm: Norm) -> None:
    with pytest.raises(RecipeError) as caught:
        check(Recipe((rule(Magnitude(norm)),)))
    assert caught.value.reason is Reason.INVALID_NORM


def test_the_threshold_is_the_largest_magnitude_that_was_pruned() -> None:
    weight = torch.tensor([[1.0, 2.0], [7.0, 8.0]])
    (report,) = prune_state_dict({"weight": weight}, recipe(rule(Magnitude(), NOfM(1, 2)))).report.tensors
    assert (report.pruned, report.threshold) == (2, 7.0)


def test_nothing_beyond_a_mask_is_planned_for() -> None:
    plan = make_plan(recipe(rule(Magnitude())), [TensorSpec("weight", "F32", (8, 8))])
    assert plan.peak_bytes == 8 * 8 * 4 + 8
