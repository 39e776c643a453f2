"""What is easily overlooked on the module face: odd dtypes, ties, names that are taken, other default devices."""

import pytest
import torch
from torch import nn

import pruning_engine as prune
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.recipe import Fraction, Magnitude, Recipe, Rule

FLOAT8 = [torch.float8_e4m3fn, torch.float8_e5m2]


def module_of(weight: torch.Tensor) -> nn.Module:
    module = nn.Module()
    module.register_parameter("w", nn.Parameter(weight, requires_grad=False))
    return module


@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
@pytest.mark.parametrize("entries", [0, 1, 2])
def test_8_bit_floats_of_any_number_are_pruned(dtype: torch.dtype, entries: int) -> None:
    module = module_of(torch.ones(entries).to(dtype))
    prune.l1_unstructured(module, "w", 1.0)
    prune.l1_unstructured(module, "w", 1.0)
    prune.custom_from_mask(module, "w", torch.zeros(entries))
    prune.remove(module, "w")

    assert module.get_parameter("w").float().tolist() == [0.0] * entries


@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
def test_one_channel_of_one_8_bit_float_is_pruned(dtype: torch.dtype) -> None:
    module = module_of(torch.ones(1, 1).to(dtype))
    prune.ln_structured(module, "w", 1, n=2, dim=0)

    assert module.get_buffer("w_mask").float().tolist() == [[0.0]]


@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
def test_only_channel_of_8_bit_floats_is_pruned(dtype: torch.dtype) -> None:
    pruned = prune.RandomStructured(1.0, dim=0).prune(torch.ones(1, 3).to(dtype))

    assert pruned.float().tolist() == [[0.0, 0.0, 0.0]]


def test_a_dtype_without_zero_is_refused() -> None:
    weight = torch.tensor([127, 128], dtype=torch.uint8).view(torch.float8_e8m0fnu)
    with pytest.raises(MismatchError) as on_module:
        prune.identity(module_of(weight), "w")
    with pytest.raises(MismatchError) as on_tensor:
        prune.L1Unstructured(1).prune(weight)

    assert on_module.value.reason is on_tensor.value.reason is Reason.UNPRUNABLE_DTYPE


def test_a_name_that_is_taken_is_refused() -> None:
    module = module_of(torch.ones(2))
    module.register_parameter("w_orig", nn.Parameter(torch.zeros(3)))
    with pytest.raises(MismatchError) as caught:
        prune.identity(module, "w")

    assert caught.value.reason is Reason.NAME_COLLISION
    assert module.get_parameter("w_orig").tolist() == [0.0, 0.0, 0.0]


def test_scores_of_shared_tensor_count_under_any_name() -> None:
    one, other = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    other.weight = one.weight
    scores = torch.tensor([[4.0, 1.0], [3.0, 2.0]])
    places = [(one, "weight"), (other, "weight")]
    prune.global_unstructured(places, prune.L1Unstructured, importance_scores={(other, "weight"): scores}, amount=2)

    masks = [module.get_buffer("weight_mask").tolist() for module in (one, other)]
    assert masks == [[[1.0, 0.0], [1.0, 0.0]]] * 2


def test_a_vector_has_no_channels_also_if_it_is_pruned() -> None:
    module = module_of(torch.tensor([1.0, 2.0]))
    prune.l1_unstructured(module, "w", 1)
    with pytest.raises(ValueError, match=r"channels|dim"):
        prune.ln_structured(module, "w", 1, n=2, dim=0)

    assert module.get_buffer("w_mask").tolist() == [0.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool], ids=str)
def test_integers_and_bools_are_pruned_at_random(dtype: torch.dtype) -> None:
    pruned = prune.RandomUnstructured(2, seed=1).prune(torch.ones(4, dtype=dtype))

    assert int((pruned == 0).sum()) == 2


@pytest.mark.parametrize("n", [-1, float("inf"), float("-inf")])
def test_channels_without_entries_have_a_norm(n: float) -> None:
    assert prune.LnStructured(1, n, 0).prune(torch.empty(3, 0)).shape == (3, 0)


def test_another_default_device_changes_nothing() -> None:
    module = nn.Linear(4, 4)
    rule = Rule(score=Magnitude(), amount=Fraction(0.5))
    state_dict = {"a.weight": torch.arange(4.0).reshape(2, 2)}
    with torch.device("meta"):
        prune.l1_unstructured(module, "weight", 0.5)
        prune.random_structured(module, "weight", 1, dim=0)
        pruned = prune.prune_state_dict(state_dict, Recipe((rule,))).state_dict["a.weight"]

    assert module.get_buffer("weight_mask").device.type == "cpu"
    assert isinstance(pruned, torch.Tensor)
    assert pruned.tolist() == [[0.0, 0.0], [2.0, 3.0]]


def test_a_tensor_with_the_negative_bit_is_pruned() -> None:
    negative = torch.tensor([1 + 1j, 2 + 4j, 3 + 2j]).conj().imag

    assert prune.L1Unstructured(1).prune(negative).tolist() == [0.0, -4.0, -2.0]
