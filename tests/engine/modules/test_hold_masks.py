"""`hold_masks` keeps zeros zero while an optimizer steps."""

import pickle
from collections.abc import Callable

import pytest
import torch

import pruning_engine as prune


def trained(*values: float) -> torch.nn.Parameter:
    """A parameter with a gradient of ones."""
    parameter = torch.nn.Parameter(torch.tensor(values))
    parameter.grad = torch.ones_like(parameter)
    return parameter


def test_without_it_a_step_revives_every_zero() -> None:
    parameter = trained(0.0, 2.0)
    torch.optim.SGD([parameter], lr=1.0).step()
    assert parameter.tolist() == [-1, 1]


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW], ids=["SGD", "AdamW"])
def test_with_it_zeros_stay_plus_zero(make: type[torch.optim.SGD]) -> None:
    parameter = trained(0.0, 2.0)
    optimizer = make([parameter], lr=1.0, weight_decay=0.1)
    prune.hold_masks(optimizer, {parameter: parameter != 0})
    for _ in range(3):
        optimizer.step()
    assert parameter[0] == 0
    assert not torch.signbit(parameter[0])
    assert parameter[1] != 2


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        pytest.param(torch.optim.SGD, {"momentum": 0.9}, id="SGD, momentum"),
        pytest.param(
            torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "foreach": True}, id="SGD, Nesterov, foreach"
        ),
        pytest.param(torch.optim.SGD, {"momentum": 0.9, "fused": True}, id="SGD, fused"),
        pytest.param(torch.optim.AdamW, {"amsgrad": True}, id="AdamW, amsgrad"),
        pytest.param(torch.optim.AdamW, {"fused": True}, id="AdamW, fused"),
    ],
)
def test_momentum_and_decay_from_before_the_pruning_revive_nothing(
    make: Callable[..., torch.optim.Optimizer], settings: dict[str, bool | float]
) -> None:
    """The optimizer has trained the dense weight: its moments still push what fell, also where the gradient is zero."""
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(64))
    optimizer = make([parameter], lr=0.1, weight_decay=0.1, **settings)
    for _ in range(3):
        parameter.grad = torch.randn(64)
        optimizer.step()
    keep = parameter.detach().abs() > parameter.detach().abs().median()
    prune.hold_masks(optimizer, {parameter: keep})
    for _ in range(20):
        parameter.grad = torch.zeros(64)
        optimizer.step()
    assert torch.equal(parameter != 0, keep)


def test_it_holds_from_the_start() -> None:
    parameter = trained(1.0, 2.0)
    prune.hold_masks(torch.optim.SGD([parameter], lr=1.0), {parameter: torch.tensor([0.0, 1.0])})
    assert parameter.tolist() == [0, 2]


def test_parameters_without_a_mask_train_freely() -> None:
    held, free = trained(0.0), trained(0.0)
    optimizer = torch.optim.SGD([held, free], lr=1.0)
    prune.hold_masks(optimizer, {held: torch.zeros(1)})
    optimizer.step()
    assert (held.tolist(), free.tolist()) == ([0], [-1])


def test_its_handle_ends_it() -> None:
    parameter = trained(0.0)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    prune.hold_masks(optimizer, {parameter: torch.zeros(1)}).remove()
    optimizer.step()
    assert parameter.tolist() == [-1]


def test_the_callers_mask_may_change_afterwards() -> None:
    parameter, mask = trained(0.0), torch.zeros(1)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    prune.hold_masks(optimizer, {parameter: mask})
    mask.fill_(1)
    optimizer.step()
    assert parameter.tolist() == [0]


def test_its_hook_pickles() -> None:
    parameter = trained(0.0, 2.0)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    prune.hold_masks(optimizer, {parameter: parameter != 0})
    (hook,) = optimizer._optimizer_step_post_hooks.values()
    assert pickle.loads(pickle.dumps(hook)).pruned[0][1].tolist() == [True, False]  # noqa: S301 - our own bytes


def test_a_tensor_that_the_optimizer_does_not_train_is_refused() -> None:
    optimizer = torch.optim.SGD([trained(1.0)], lr=1.0)
    with pytest.raises(prune.MismatchError, match="none of the optimizer's parameters"):
        prune.hold_masks(optimizer, {trained(1.0): torch.zeros(1)})


def test_a_mask_of_another_shape_is_refused_before_anything_is_zeroed() -> None:
    first, second = trained(1.0), trained(2.0)
    optimizer = torch.optim.SGD([first, second], lr=1.0)
    with pytest.raises(prune.MismatchError, match=r"mask 1 has shape \[2\]; it must have its parameter's, \[1\]"):
        prune.hold_masks(optimizer, {first: torch.zeros(1), second: torch.zeros(2)})
    assert first.tolist() == [1]
