"""Modules on a GPU: the same masks as on the CPU, and they stay there."""

import copy

import pytest
import torch

import pruning_engine as prune

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def test_every_method_gives_the_masks_of_the_cpu() -> None:
    host = torch.nn.Linear(64, 48)
    other = copy.deepcopy(host).to("cuda")
    for module in (host, other):
        prune.l1_unstructured(module, "weight", 0.2)
        prune.random_unstructured(module, "weight", 0.2, seed=1)
        prune.ln_structured(module, "weight", 0.2, n=2, dim=0)
        prune.random_structured(module, "weight", 0.2, dim=1, seed=2)
    assert torch.equal(host.get_buffer("weight_mask"), other.get_buffer("weight_mask").cpu())


def test_modules_on_several_devices_share_one_amount() -> None:
    host, other = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8, device="cuda")
    prune.global_unstructured([(host, "weight"), (other, "weight")], prune.L1Unstructured, amount=64)
    kept = [module.get_buffer("weight_mask").sum().item() for module in (host, other)]
    assert sum(kept) == 64
    assert other.get_buffer("weight_mask").is_cuda


def test_a_module_that_moves_after_pruning_is_copied() -> None:
    module = prune.l1_unstructured(torch.nn.Linear(4, 4), "weight", 0.5).to("cuda")
    twin = copy.deepcopy(module)
    assert torch.equal(twin(torch.ones(4, device="cuda")), module(torch.ones(4, device="cuda")))
