"""One amount shared out over the tensors of many modules."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.utils import prune as torch_prune

import pruning_engine as prune
from tests.engine.pruned_modules import mask_of, module_of, row, weight_of


class LastHalf(torch_prune.BasePruningMethod):
    """Somebody's method, written against torch: the last half of what it is shown falls."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:
        mask = default_mask.clone()
        mask.view(-1)[len(t) // 2 :] = 0
        return mask


class L1OfMyOwn(prune.L1Unstructured):
    """A subclass that decides for itself."""

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - the interface
        return torch.zeros_like(default_mask)


def custom_mask_of(module: torch.nn.Module) -> torch.Tensor:
    """The mask that the module's hook was given."""
    (hook,) = module._forward_pre_hooks.values()
    assert isinstance(hook, prune.CustomFromMask)
    return hook.mask


def test_least_of_all_entries_are_pruned() -> None:
    first, second = row(1, 2, 3, 4), row(0.5, 2.5)
    prune.global_unstructured([(first, "weight"), (second, "weight")], prune.L1Unstructured, amount=3)
    assert weight_of(first).tolist() == [0, 0, 3, 4]
    assert weight_of(second).tolist() == [0, 2.5]


def test_equal_scores_are_pruned_in_the_callers_order() -> None:
    first, second = row(1, 1), row(1, 1)
    prune.global_unstructured([(second, "weight"), (first, "weight")], prune.L1Unstructured, amount=3)
    assert mask_of(first).tolist() == [0, 1]
    assert mask_of(second).tolist() == [0, 0]


def test_a_float_is_a_part_of_what_all_have_left() -> None:
    first, second = row(1, 2, 3, 4), row(5, 6)
    places = [(first, "weight"), (second, "weight")]
    prune.global_unstructured(places, prune.L1Unstructured, amount=2)
    prune.global_unstructured(places, prune.L1Unstructured, amount=0.5)
    assert mask_of(first).tolist() == [0, 0, 0, 0]
    assert mask_of(second).tolist() == [1, 1]


def test_a_generator_of_parameters_will_do() -> None:
    model = torch.nn.Sequential(row(1, 2), row(3, 4))
    prune.global_unstructured(((module, "weight") for module in model), prune.L1Unstructured, amount=0.5)
    assert [mask_of(module).tolist() for module in model] == [[0, 0], [1, 1]]


def test_scores_are_ranked_for_the_modules_that_have_them() -> None:
    first, second = row(1, 2), row(3, 4)
    scores = {(first, "weight"): torch.tensor([9.0, 8.0])}
    prune.global_unstructured(
        [(first, "weight"), (second, "weight")], prune.L1Unstructured, importance_scores=scores, amount=1
    )
    assert mask_of(second).tolist() == [0, 1]


def test_tensors_of_several_dtypes_compete_by_value() -> None:
    first, second = module_of(torch.tensor([1.0, 4.0]).bfloat16()), module_of(torch.tensor([3.0, 2.0]).double())
    prune.global_unstructured([(first, "weight"), (second, "weight")], prune.L1Unstructured, amount=2)
    assert weight_of(first).tolist() == [0, 4]
    assert weight_of(second).tolist() == [3, 0]
    assert mask_of(first).dtype is torch.bfloat16


def tied() -> tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module]:
    """Two modules that share a weight of 4 entries, and one with a weight of 4 more."""
    first, second, other = row(1, 2, 3, 4), torch.nn.Module(), row(5, 6, 7, 8)
    second.register_parameter("weight", first.get_parameter("weight"))
    return first, second, other


@pytest.mark.parametrize("method", [prune.L1Unstructured, torch_prune.L1Unstructured], ids=["ours", "torch's"])
def test_shared_tensor_counts_and_is_pruned_once(method: Callable[..., torch_prune.BasePruningMethod]) -> None:
    first, second, other = tied()
    places = [(module, "weight") for module in (first, second, other)]
    prune.global_unstructured(places, method, amount=0.5)
    assert [mask_of(module).sum().item() for module in (first, second, other)] == [0, 0, 4]
    assert first.weight_orig is second.weight_orig


def test_shared_tensor_counts_once_in_next_round_too() -> None:
    first, second, other = tied()
    places = [(module, "weight") for module in (first, second, other)]
    for _ in range(2):
        prune.global_unstructured(places, prune.L1Unstructured, amount=2)
    assert [mask_of(module).sum().item() for module in (first, second, other)] == [0, 0, 4]


def test_a_module_named_twice_is_pruned_once() -> None:
    module = row(1, 2, 3, 4)
    prune.global_unstructured([(module, "weight")] * 2, prune.L1Unstructured, amount=0.5)
    assert mask_of(module).tolist() == [0, 0, 1, 1]
    assert custom_mask_of(module).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("method", [lambda: prune.L1Unstructured(2), LastHalf], ids=["ours", "somebody's"])
def test_masks_of_different_modules_share_no_storage(method: Callable[..., torch_prune.BasePruningMethod]) -> None:
    modules = tied()
    prune.global_unstructured([(module, "weight") for module in modules], method)
    for masks in ([mask_of(module) for module in modules], [custom_mask_of(module) for module in modules]):
        assert len({mask.untyped_storage().data_ptr() for mask in masks}) == 3


def test_random_pruning_draws_each_tensor_its_own_mask() -> None:
    first, second = row(*range(64)), row(*range(64))
    prune.global_unstructured([(first, "weight"), (second, "weight")], prune.RandomUnstructured, amount=0.5, seed=1)
    assert not torch.equal(mask_of(first), mask_of(second))
    assert mask_of(first).sum() + mask_of(second).sum() == 64


def test_somebodys_method_sees_all_that_is_left_in_one_row() -> None:
    first, second = row(1, 2, 3), row(4, 5, 6)
    places = [(first, "weight"), (second, "weight")]
    for _ in range(2):
        prune.global_unstructured(places, LastHalf)
    assert mask_of(first).tolist() == [1, 0, 0]
    assert mask_of(second).tolist() == [0, 0, 0]


def test_a_subclass_that_decides_for_itself_is_heard() -> None:
    module = row(1, 2, 3)
    prune.global_unstructured([(module, "weight")], L1OfMyOwn, amount=1)
    assert not mask_of(module).any()


def test_channels_last_tensors_take_part() -> None:
    module = module_of(torch.arange(8.0).view(1, 2, 2, 2).contiguous(memory_format=torch.channels_last))
    prune.global_unstructured([(module, "weight")], prune.L1Unstructured, amount=4)
    assert mask_of(module).tolist() == [[[[0, 0], [0, 0]], [[1, 1], [1, 1]]]]


def test_boolean_masks_stay_boolean() -> None:
    module = row(1, 2, 3)
    prune.Identity.apply(module, "weight", mask_dtype=torch.bool)
    prune.global_unstructured([(module, "weight")], prune.L1Unstructured, amount=1)
    assert mask_of(module).tolist() == [False, True, True]


def test_the_hook_is_a_custom_mask_as_in_torch() -> None:
    module = row(1, 2)
    prune.global_unstructured([(module, "weight")], prune.L1Unstructured, amount=1)
    assert [type(hook) for hook in module._forward_pre_hooks.values()] == [prune.CustomFromMask]


def test_where_selection_fails_no_module_has_changed() -> None:
    first, second = row(1, 2), row(3, math.nan)
    with pytest.raises(prune.CheckpointError, match=r"'1\.weight' holds NaN"):
        prune.global_unstructured([(first, "weight"), (second, "weight")], prune.L1Unstructured, amount=1)
    assert not prune.is_pruned(first)
    assert not prune.is_pruned(second)


@pytest.mark.parametrize("method", [prune.LnStructured, prune.CustomFromMask], ids=["structured", "global"])
def test_only_unstructured_methods_prune_globally(method: Callable[..., torch_prune.BasePruningMethod]) -> None:
    options = {"amount": 1, "n": 2} if method is prune.LnStructured else {"mask": torch.ones(2)}
    with pytest.raises(TypeError, match="only a method of PRUNING_TYPE 'unstructured'"):
        prune.global_unstructured([(row(1, 2), "weight")], method, **options)


def test_more_than_is_left_of_all_is_refused() -> None:
    with pytest.raises(ValueError, match="amount=3 should fall, but only 2"):
        prune.global_unstructured([(row(1, 2), "weight")], prune.L1Unstructured, amount=3)


def test_parameters_must_be_some() -> None:
    with pytest.raises(prune.MismatchError, match="parameters is empty"):
        prune.global_unstructured([], prune.L1Unstructured, amount=1)


def test_parameters_must_be_iterable() -> None:
    with pytest.raises(TypeError, match="iterable of \\(module, name\\), not Module"):
        prune.global_unstructured(row(1), prune.L1Unstructured, amount=1)  # type: ignore[arg-type]  # the point


def test_scores_must_be_a_dict() -> None:
    with pytest.raises(TypeError, match="dict from \\(module, name\\) to tensor, not list"):
        prune.global_unstructured([(row(1), "weight")], prune.L1Unstructured, [], amount=1)  # type: ignore[arg-type]


def test_scores_must_have_their_parameters_shape() -> None:
    module = row(1, 2)
    with pytest.raises(AssertionError, match=r"have shape \[3\]; they must have the parameter's, \[2\]"):
        prune.global_unstructured(
            [(module, "weight")],
            prune.L1Unstructured,
            importance_scores={(module, "weight"): torch.ones(3)},
            amount=1,
        )
