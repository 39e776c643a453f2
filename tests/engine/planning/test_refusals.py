"""What is refused once the data is read: each refusal names its reason and the tensor at fault."""

import pytest
import torch

from pruning_engine import CheckpointError, MismatchError, PruningError, Reason, prune_state_dict
from pruning_engine.recipe import Channels, Count, CustomMask, ImportanceScores, Magnitude, Random, Rule, Scope
from tests.engine.packed import pack
from tests.engine.rules import l1, ln, recipe

NAN = float("nan")


def refusal(state_dict: dict[str, torch.Tensor], *rules: Rule) -> PruningError:
    with pytest.raises(PruningError) as caught:
        prune_state_dict(state_dict, recipe(*rules))
    return caught.value


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
)
@pytest.mark.parametrize("amount", [Count(0), Count(1), Count(4)], ids=["none", "one", "all"])
def test_nan_among_the_weights(dtype: torch.dtype, amount: Count) -> None:
    error = refusal({"weight": torch.tensor([[1.0, NAN, 2.0, 3.0]]).to(dtype)}, l1(amount))
    assert isinstance(error, CheckpointError)
    assert (error.reason, error.tensor) == (Reason.NAN_WEIGHTS, "weight")


@pytest.mark.parametrize("norm", [0.0, 0.5, 1.0, 2.0, 5.0, torch.inf, -torch.inf])
def test_nan_in_a_channel(norm: float) -> None:
    error = refusal({"weight": torch.tensor([[1.0, NAN], [2.0, 3.0]])}, ln(norm))
    assert error.reason is Reason.NAN_WEIGHTS


def test_nan_among_the_scores() -> None:
    state_dict = {"weight": torch.ones(1, 2), "weight:scores": torch.tensor([[NAN, 1.0]])}
    error = refusal(state_dict, Rule(score=ImportanceScores(), amount=Count(1)))
    assert (error.reason, error.tensor) == (Reason.NAN_SCORES, "weight:scores")


def test_nan_in_global_scope_names_its_tensor() -> None:
    state_dict = {"a": torch.ones(1, 2), "b": torch.tensor([[NAN, 1.0]]), "c": torch.ones(1, 2)}
    assert refusal(state_dict, l1(Count(1), "*", scope=Scope.GLOBAL)).tensor == "b"


@pytest.mark.parametrize("rule", [l1(Count(1)), ln(2.0, dim=1, amount=Count(1))], ids=["entries", "channels"])
def test_nan_in_a_pruned_entry_does_not_matter(rule: Rule) -> None:
    bits = pack(torch.tensor([True, False, True]))
    prune_state_dict({"weight": torch.tensor([[1.0, NAN, 2.0]]), "weight:mask_bits": bits}, recipe(rule))


def test_nan_does_not_matter_to_random_scores() -> None:
    prune_state_dict({"weight": torch.tensor([[1.0, NAN]])}, recipe(Rule(score=Random(), amount=Count(1))))


@pytest.mark.parametrize(
    "mask", [torch.tensor([[0.5, 1.0]]), torch.tensor([[2, 1]]), torch.tensor([[-1, 0]]), torch.tensor([[NAN, 0.0]])]
)
def test_a_custom_mask_that_is_not_binary(mask: torch.Tensor) -> None:
    error = refusal({"weight": torch.ones(1, 2), "weight:mask": mask}, Rule(score=CustomMask()))
    assert (error.reason, error.tensor) == (Reason.MASK_NOT_BINARY, "weight:mask")


def test_a_pair_whose_mask_is_not_binary() -> None:
    pair = {"weight_orig": torch.ones(1, 2), "weight_mask": torch.tensor([[0.5, 1.0]])}
    assert refusal(pair, l1()).tensor == "weight_mask"


def test_a_bool_mask_with_a_byte_that_is_no_bool() -> None:
    mask = torch.tensor([[2, 1]], dtype=torch.uint8).view(torch.bool)
    error = refusal({"weight": torch.ones(1, 2), "weight:mask": mask}, Rule(score=CustomMask()))
    assert error.reason is Reason.MASK_NOT_BINARY


def test_spare_bits_of_a_prior_mask() -> None:
    bits = torch.tensor([0b111], dtype=torch.uint8)
    error = refusal({"weight": torch.ones(1, 2), "weight:mask_bits": bits}, l1())
    assert (error.reason, error.tensor) == (Reason.MASK_NOT_BINARY, "weight:mask_bits")


@pytest.mark.parametrize(
    "rule",
    [l1(Count(2)), Rule(score=Magnitude(), amount=Count(2), granularity=Channels(1))],
    ids=["entries", "channels"],
)
def test_a_count_above_what_is_unpruned(rule: Rule) -> None:
    bits = pack(torch.tensor([True, False]))
    error = refusal({"weight": torch.ones(1, 2), "weight:mask_bits": bits}, rule)
    assert isinstance(error, MismatchError)
    assert (error.reason, error.field) == (Reason.COUNT_TOO_LARGE, "rules[0].amount.count")
