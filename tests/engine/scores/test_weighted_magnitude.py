"""|w| times one norm per input channel, compared within each output channel."""

import pytest
import torch

from pruning_engine import CheckpointError, MismatchError, PruningError, Reason, RecipeError, prune_state_dict
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import (
    Amount,
    Channels,
    Count,
    Fraction,
    Recipe,
    Rule,
    Scope,
    Sparsity,
    WeightedMagnitude,
    check,
)
from tests.engine.packed import pack
from tests.engine.rules import recipe

HALF = Fraction(0.5)
NAN, INF = float("nan"), float("inf")


def rule(amount: Amount = HALF, dim: int = 1) -> Rule:
    return Rule(score=WeightedMagnitude(dim), amount=amount)


def kept(weight: torch.Tensor, norms: torch.Tensor, rule: Rule, **auxiliary: torch.Tensor) -> list[list[int]]:
    state_dict = {"weight": weight, "weight:in_norm": norms}
    state_dict |= {f"weight:{suffix}": tensor for suffix, tensor in auxiliary.items()}
    mask = prune_state_dict(state_dict, recipe(rule), output="masked").state_dict["weight_mask"]
    assert isinstance(mask, torch.Tensor)
    rows: list[list[int]] = mask.to(torch.int8).reshape(weight.shape[0], -1).tolist()
    return rows


def refusal(weight: torch.Tensor, norms: torch.Tensor, rule: Rule) -> PruningError:
    with pytest.raises(PruningError) as caught:
        kept(weight, norms, rule)
    return caught.value


def test_products_are_compared_within_each_row() -> None:
    weight = torch.tensor([[1.0, -2.0, 3.0, 4.0], [40.0, 30.0, 20.0, 10.0]])
    norms = torch.tensor([4.0, 1.0, 1.0, 1.0])  # products: 4 2 3 4, and 160 30 20 10
    assert kept(weight, norms, rule()) == [[1, 0, 0, 1], [1, 1, 0, 0]]


def test_half_of_an_odd_row_is_rounded_to_even() -> None:
    assert kept(torch.ones(1, 5), torch.arange(5.0), rule()) == [[0, 0, 1, 1, 1]]


def test_among_equal_products_the_earlier_ones_are_pruned() -> None:
    assert kept(torch.ones(2, 4), torch.ones(4), rule(Count(3))) == [[0, 0, 0, 1]] * 2


@pytest.mark.parametrize(
    ("statistic", "value"),
    [
        ("in_sum2", torch.tensor([16.0, 1.0, 1.0, 1.0])),
        ("in_gram", torch.diag(torch.tensor([16.0, 1.0, 1.0, 1.0])) + torch.ones(4, 4) / 8 - torch.eye(4) / 8),
        ("inputs", torch.tensor([[4.0, 0.6, 1.0, 0.0], [0.0, -0.8, 0.0, 1.0]])),
    ],
    ids=["sum of squares", "diagonal of the Gram matrix", "inputs"],
)
def test_norms_come_from_any_statistic(statistic: str, value: torch.Tensor) -> None:
    weight = torch.tensor([[1.0, -2.0, 3.0, 4.0], [40.0, 30.0, 20.0, 10.0]])
    asked = Rule(score=WeightedMagnitude(), amount=HALF, input_dim=1)
    state_dict = {"weight": weight, f"weight:{statistic}": value}
    mask = prune_state_dict(state_dict, recipe(asked), output="masked").state_dict["weight_mask"]
    assert torch.equal(mask, torch.tensor([[True, False, False, True], [True, True, False, False]]))  # type: ignore[arg-type]


def test_stacked_experts_have_norms_of_their_own() -> None:
    weight = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]])  # (E, in, out)
    state_dict = {"experts.down_proj": weight, "experts.down_proj:in_sum2": torch.tensor([[1.0, 0.0], [1.0, 1.0]])}
    for input_dim, expected in ((1, [[[1, 1], [0, 0]], [[0, 0], [1, 1]]]), (2, [[[1, 0], [1, 0]], [[0, 1], [0, 1]]])):
        asked = Rule(score=WeightedMagnitude(), amount=HALF, input_dim=input_dim)
        mask = prune_state_dict(state_dict, recipe(asked), output="masked").state_dict["experts.down_proj_mask"]
        assert torch.equal(mask, torch.tensor(expected, dtype=torch.bool))  # type: ignore[arg-type]


@pytest.mark.parametrize("scope", [Scope.LOCAL, Scope.GLOBAL])
def test_other_scopes_compare_products_of_all_output_channels(scope: Scope) -> None:
    weight = torch.tensor([[1.0, -2.0, 3.0, 4.0], [40.0, 30.0, 20.0, 10.0]])
    asked = Rule(score=WeightedMagnitude(), amount=HALF, scope=scope)
    assert kept(weight, torch.tensor([4.0, 1.0, 1.0, 1.0]), asked) == [[0, 0, 0, 0], [1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("amount", "rows"),
    [
        (Fraction(0.5), [[0, 0, 0, 1], [0, 0, 1, 1]]),
        (Count(1), [[0, 0, 1, 1], [0, 1, 1, 1]]),
        (Sparsity(0.5), [[0, 0, 1, 1], [0, 0, 1, 1]]),
    ],
    ids=["fraction", "count", "sparsity"],
)
def test_a_prior_mask_is_respected_in_each_row(amount: Amount, rows: list[list[int]]) -> None:
    bits = pack(torch.tensor([[False, True, True, True], [True] * 4]))
    assert kept(torch.ones(2, 4), torch.arange(4.0), rule(amount), mask_bits=bits) == rows


def test_a_convolution_has_a_norm_per_input_channel_for_all_its_positions() -> None:
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).reshape(1, 3, 1, 2)
    norms = torch.tensor([10.0, 0.1, 1.0])  # products: 10 20 0.3 0.4 5 6
    assert kept(weight, norms, rule(Count(3))) == [[1, 1, 0, 0, 0, 1]]


def test_input_channels_along_dim_0_are_compared_within_each_column() -> None:
    weight = torch.tensor([[1.0, 40.0], [2.0, 30.0], [3.0, 20.0]])
    norms = torch.tensor([4.0, 1.0, 1.0])
    assert kept(weight, norms, rule(Count(2), dim=0)) == [[1, 1], [0, 0], [0, 0]]


def test_products_that_fp16_cannot_hold_are_compared_in_fp32() -> None:
    weight = torch.tensor([[60000.0, 50000.0, 1.0]], dtype=torch.float16)
    norms = torch.tensor([50000.0, 60000.0, 65000.0], dtype=torch.float16)
    assert kept(weight, norms, rule(Count(1))) == [[1, 1, 0]]
    assert kept(weight * 0 + 1, torch.tensor([1.0, 1.0 + 2**-20, 1.0]), rule(Count(2))) == [[0, 1, 0]]


def test_fp64_weights_are_multiplied_in_fp64() -> None:
    weight = torch.tensor([[1.0, 1.0 + 2**-40, 1.0]], dtype=torch.float64)
    assert kept(weight, torch.ones(3), rule(Count(2))) == [[0, 1, 0]]


@pytest.mark.parametrize("wrong", [NAN, INF, -1.0])
def test_norms_that_are_not_finite_numbers_from_0_are_refused(wrong: float) -> None:
    error = refusal(torch.ones(1, 2), torch.tensor([1.0, wrong]), rule())
    assert isinstance(error, CheckpointError)
    assert (error.reason, error.tensor) == (Reason.INVALID_AUXILIARY, "weight:in_norm")
    assert "at position 1" in str(error)


@pytest.mark.parametrize(("weight", "norm"), [(NAN, 1.0), (INF, 0.0)], ids=["nan", "infinity times 0"])
def test_nan_products_are_refused(weight: float, norm: float) -> None:
    error = refusal(torch.tensor([[1.0, weight]]), torch.tensor([1.0, norm]), rule())
    assert (error.reason, error.tensor) == (Reason.NAN_WEIGHTS, "weight")


def test_norms_that_fit_another_dim_say_which_dim_is_the_input() -> None:
    weight = torch.tensor([[1.0, 40.0], [2.0, 30.0], [3.0, 20.0]])
    asked = Rule(score=WeightedMagnitude(), amount=Count(2))
    assert kept(weight, torch.tensor([4.0, 1.0, 1.0]), asked) == [[1, 1], [0, 0], [0, 0]]


def test_norms_that_do_not_fit_the_dim_that_is_named_are_refused() -> None:
    asked = Rule(score=WeightedMagnitude(), amount=HALF, input_dim=1)
    error = refusal(torch.ones(2, 3), torch.ones(2), asked)
    assert isinstance(error, MismatchError)
    assert (error.reason, error.field) == (Reason.SHAPE_MISMATCH, "rules[0].input_dim")
    assert "[2, 3]" in str(error)
    assert "set input_dim to 0" in str(error)


def test_norms_that_fit_no_dim_are_refused_by_name() -> None:
    error = refusal(torch.ones(2, 3), torch.ones(5), rule())
    assert (error.reason, error.tensor) == (Reason.SHAPE_MISMATCH, "weight:in_norm")
    assert "[2] or [3]" in str(error)


def test_missing_norms_are_refused() -> None:
    with pytest.raises(MismatchError, match="weight:in_norm") as caught:
        prune_state_dict({"weight": torch.ones(2, 2)}, recipe(rule()))
    assert caught.value.reason is Reason.MISSING_COMPANION


def test_a_dim_that_the_tensor_lacks_is_refused() -> None:
    assert refusal(torch.ones(2, 2), torch.ones(2), rule(dim=2)).reason is Reason.DIM_OUT_OF_RANGE


def test_a_count_above_a_row_is_refused() -> None:
    error = refusal(torch.ones(2, 3), torch.ones(3), rule(Count(4)))
    assert (error.reason, error.tensor) == (Reason.COUNT_TOO_LARGE, "weight")
    assert "an output channel of tensor 'weight' has only 3" in str(error)


def test_a_count_above_what_is_unpruned_in_a_row_is_refused() -> None:
    bits = pack(torch.tensor([[True, True], [False, True]]))
    with pytest.raises(MismatchError, match="only 1 still unpruned"):
        kept(torch.ones(2, 2), torch.ones(2), rule(Count(2)), mask_bits=bits)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (Rule(score=WeightedMagnitude(), amount=HALF, granularity=Channels()), "granularity"),
        (Rule(score=WeightedMagnitude()), "amount"),
    ],
    ids=["channels", "no amount"],
)
def test_what_does_not_go_with_it_is_refused(asked: Rule, field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check(Recipe((asked,)))
    assert caught.value.field == f"rules[0].{field}"


def test_norms_and_factors_are_part_of_the_plan() -> None:
    tensors = [TensorSpec("weight", "F32", (8, 16)), TensorSpec("weight:in_norm", "F32", (16,))]
    plan = make_plan(recipe(rule()), tensors)
    assert plan.peak_bytes == 8 * 16 * 4 + 16 * 4 + 16 + 8 * (16 + 16)
    assert plan.reproducible
