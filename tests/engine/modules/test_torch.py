"""Both ways with torch: modules and methods of one are at home in the other."""

import inspect
import itertools
import math

import pytest
import torch
from torch.nn.utils import prune as torch_prune

import pruning_engine as prune
from tests.engine.pruned_modules import mask_of, module_of, row

CLASSES = [
    "BasePruningMethod",
    "PruningContainer",
    "Identity",
    "RandomUnstructured",
    "L1Unstructured",
    "RandomStructured",
    "LnStructured",
    "CustomFromMask",
]
FUNCTIONS = [
    "identity",
    "random_unstructured",
    "l1_unstructured",
    "random_structured",
    "ln_structured",
    "global_unstructured",
    "custom_from_mask",
    "remove",
    "is_pruned",
]


class EveryOther(torch_prune.BasePruningMethod):
    """Somebody's method, written against torch."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - the interface
        mask = default_mask.clone()
        mask.view(-1)[::2] = 0
        return mask


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_is_torchs_class_too(name: str) -> None:
    assert issubclass(getattr(prune, name), getattr(torch_prune, name))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_takes_what_torchs_takes(name: str) -> None:
    theirs = [(each.name, each.default) for each in inspect.signature(getattr(torch_prune, name)).parameters.values()]
    ours = [(each.name, each.default) for each in inspect.signature(getattr(prune, name)).parameters.values()]
    assert ours[: len(theirs)] == theirs


def test_torch_knows_and_removes_what_was_pruned_here() -> None:
    module = prune.l1_unstructured(row(1, 2), "weight", 1)
    assert torch_prune.is_pruned(module)
    torch_prune.remove(module, "weight")  # type: ignore[no-untyped-call]  # torch's
    assert list(module.state_dict()) == ["weight"]


def test_what_torch_pruned_is_known_and_removed_here() -> None:
    module = torch_prune.l1_unstructured(row(1, 2), "weight", 1)  # type: ignore[no-untyped-call]  # torch's
    assert prune.is_pruned(module)
    assert list(prune.remove(module, "weight").state_dict()) == ["weight"]


@pytest.mark.parametrize("order", list(itertools.product(["here", "torch"], repeat=3)), ids=str)
def test_rounds_of_both_leave_one_container_of_three(order: tuple[str, ...]) -> None:
    module = row(1, 2, 3, 4, 5)
    for face in order:
        {"here": prune, "torch": torch_prune}[face].l1_unstructured(module, "weight", 1)
    (container,) = module._forward_pre_hooks.values()
    assert mask_of(module).tolist() == [0, 0, 0, 1, 1]
    assert isinstance(container, torch_prune.PruningContainer)
    assert all(isinstance(method, torch_prune.L1Unstructured) for method in container)
    assert len(container) == 3


def test_a_method_written_against_torch_goes_into_a_container() -> None:
    container = prune.PruningContainer(prune.L1Unstructured(1), EveryOther())
    prior = torch.tensor([0.0, 1, 1, 1, 1])
    assert container.compute_mask(torch.ones(5), prior).tolist() == [0, 0, 1, 0, 1]
    assert prior.tolist() == [0, 1, 1, 1, 1]


def test_a_method_written_against_torch_applies_to_what_was_pruned_here() -> None:
    module = prune.l1_unstructured(row(1, 2, 3, 4, 5), "weight", 1)
    EveryOther.apply(module, "weight")  # type: ignore[no-untyped-call]  # torch's
    prune.l1_unstructured(module, "weight", 1)
    assert mask_of(module).tolist() == [0, 0, 0, 0, 1]


NORMS = [1, 2, 3, 4, 0.5, 1.5, -1, math.inf, -math.inf, "fro"]


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("n", NORMS, ids=str)
def test_channels_are_pruned_as_in_torch(n: float | str, dim: int) -> None:
    weight = torch.randn(5, 6, 7, generator=torch.Generator().manual_seed(1))
    ours, theirs = module_of(weight.clone()), module_of(weight.clone())
    for face, module in ((prune, ours), (torch_prune, theirs)):
        face.ln_structured(module, "weight", 1, n, dim)
    assert torch.equal(mask_of(ours), mask_of(theirs))


AMOUNTS = [0, 1, 7, 30, 0.1, 0.25, 0.5, 1.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64], ids=str)
@pytest.mark.parametrize("amount", AMOUNTS, ids=repr)
def test_three_rounds_prune_entries_as_in_torch(amount: float, dtype: torch.dtype) -> None:
    numbers = torch.randperm(120, generator=torch.Generator().manual_seed(2)) + 1
    weight = torch.where(numbers % 2 == 0, numbers, -numbers).view(4, 5, 6).to(dtype)
    ours, theirs = module_of(weight.clone()), module_of(weight.clone())
    for face, module in ((prune, ours), (torch_prune, theirs)):
        for _ in range(3):
            face.l1_unstructured(module, "weight", amount)
    assert torch.equal(mask_of(ours), mask_of(theirs))
    assert mask_of(ours).dtype is mask_of(theirs).dtype
