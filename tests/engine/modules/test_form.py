"""What pruning leaves on a module, once and again, and what an error leaves: the module as it was."""

import math
from collections.abc import Callable

import pytest
import torch

import pruning_engine as prune
from tests.engine.pruned_modules import backward, mask_of, module_of, row, weight_of


class Fails(prune.BasePruningMethod):
    """A method whose mask cannot be computed."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - the interface
        raise ArithmeticError("no mask today")


class WrongMask(prune.BasePruningMethod):
    """A method whose mask fits no tensor: storing goes wrong after the module was changed."""

    PRUNING_TYPE = "global"

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - the interface
        return torch.ones(7, 7, 7)

    def mask_survivors(self, t: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.compute_mask(t, mask)


class FirstHalf(prune.BasePruningMethod):
    """A method that needs to see the entries in one row."""

    PRUNING_TYPE = "global"

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:
        return (t.view(-1) >= t.numel() / 2).to(default_mask.dtype).view(default_mask.shape)


class Doubles(prune.L1Unstructured):
    """A method with a way of its own to apply masks."""

    def apply_mask(self, module: torch.nn.Module) -> torch.Tensor:
        return 2 * super().apply_mask(module)


def test_a_pruned_module_has_a_parameter_a_mask_and_a_hook() -> None:
    module = prune.l1_unstructured(row(1, -2, 3, -4), "weight", 2)
    assert list(dict(module.named_parameters())) == ["weight_orig"]
    assert list(dict(module.named_buffers())) == ["weight_mask"]
    assert [type(hook) for hook in module._forward_pre_hooks.values()] == [prune.L1Unstructured]
    assert weight_of(module).tolist() == [0, 0, 3, -4]


def test_the_parameter_stays_the_same_object() -> None:
    module = row(1, 2)
    parameter = module.weight
    prune.l1_unstructured(module, "weight", 1)
    assert module.weight_orig is parameter
    assert prune.remove(module, "weight").weight is parameter


def test_gradients_reach_the_parameter_where_the_mask_is_one() -> None:
    module = prune.l1_unstructured(row(1, 2, 3), "weight", 1)
    backward(weight_of(module))
    gradient = module.get_parameter("weight_orig").grad
    assert gradient is not None
    assert gradient.tolist() == [0, 1, 1]


def test_a_method_of_ones_own_sees_a_channels_last_weight_in_c_order() -> None:
    module = module_of(torch.arange(8.0).view(1, 2, 2, 2).contiguous(memory_format=torch.channels_last))
    FirstHalf.apply(module, "weight")
    assert mask_of(module).tolist() == [[[[0, 0], [0, 0]], [[1, 1], [1, 1]]]]


def test_pruning_again_takes_its_part_of_what_is_left() -> None:
    module = prune.l1_unstructured(row(1, 2, 3, 4, 5, 6, 7, 8), "weight", 0.5)
    prune.l1_unstructured(module, "weight", 0.5)
    assert mask_of(module).tolist() == [0, 0, 0, 0, 0, 0, 1, 1]


def test_pruning_again_makes_a_container_of_both_methods() -> None:
    module = prune.l1_unstructured(row(1, 2, 3), "weight", 1)
    prune.random_unstructured(module, "weight", 1)
    (container,) = module._forward_pre_hooks.values()
    assert isinstance(container, prune.PruningContainer)
    assert [type(method) for method in container] == [prune.L1Unstructured, prune.RandomUnstructured]


def test_pruning_again_after_a_step_ranks_the_weights_of_now() -> None:
    module = prune.l1_unstructured(row(1, 2, 3, 4), "weight", 1)
    with torch.no_grad():
        module.get_parameter("weight_orig").copy_(torch.tensor([9.0, 8.0, 7.0, 1.0]))
    prune.l1_unstructured(module, "weight", 1)
    assert mask_of(module).tolist() == [0, 1, 1, 0]


def test_pruning_channels_again_counts_pruned_entries_as_zero() -> None:
    module = module_of(torch.tensor([[9.0, 1.0], [3.0, 3.0]]))
    prune.custom_from_mask(module, "weight", torch.tensor([[0, 1], [1, 1]]))
    prune.ln_structured(module, "weight", 1, n=1, dim=0)
    assert mask_of(module).tolist() == [[0, 0], [1, 1]]


def test_scores_are_ranked_in_place_of_the_weight() -> None:
    module = row(1, 2, 3)
    prune.l1_unstructured(module, "weight", 1, importance_scores=torch.tensor([5.0, 6.0, 4.0]))
    assert weight_of(module).tolist() == [1, 2, 0]


def test_a_mask_has_the_weights_dtype_unless_asked_otherwise() -> None:
    assert mask_of(prune.l1_unstructured(row(1, 2), "weight", 1)).dtype is torch.float32


def test_a_mask_may_be_boolean_and_stays_so() -> None:
    module = row(1, -2, 3, 4)
    prune.L1Unstructured.apply(module, "weight", 2, mask_dtype=torch.bool)
    prune.l1_unstructured(module, "weight", 1)
    assert mask_of(module).tolist() == [False, False, False, True]
    assert not torch.signbit(weight_of(module)).any()


def test_remove_leaves_plus_zeros_and_a_plain_parameter() -> None:
    module = prune.l1_unstructured(row(-1, 2), "weight", 1)
    prune.remove(module, "weight")
    assert list(module.state_dict()) == ["weight"]
    assert weight_of(module).tolist() == [0, 2]
    assert not torch.signbit(weight_of(module)).any()
    assert not prune.is_pruned(module)


def test_a_methods_own_way_to_apply_masks_counts_to_the_end() -> None:
    module = row(1, 2)
    Doubles.apply(module, "weight", 1)
    prune.remove(module, "weight")
    assert weight_of(module).tolist() == [0, 4]


def test_is_pruned_looks_into_submodules() -> None:
    inner = row(1, 2)
    model = torch.nn.Sequential(torch.nn.Sequential(inner))
    assert not prune.is_pruned(model)
    prune.identity(inner, "weight")
    assert prune.is_pruned(model)


def test_a_recurrent_module_knows_its_pruned_weight() -> None:
    lstm = prune.l1_unstructured(torch.nn.LSTM(2, 2), "weight_ih_l0", 0.5)
    assert lstm._flat_weights[0] is lstm.weight_ih_l0


FAILURES: list[tuple[str, Callable[[torch.nn.Module], object]]] = [
    ("compute_mask raises", lambda module: Fails.apply(module, "weight")),
    ("the mask does not fit", lambda module: WrongMask.apply(module, "weight")),
    ("too many", lambda module: prune.l1_unstructured(module, "weight", 99)),
    ("amount", lambda module: prune.l1_unstructured(module, "weight", math.nan)),
    ("dim", lambda module: prune.ln_structured(module, "weight", 1, 2, dim=5)),
    ("scores", lambda module: prune.l1_unstructured(module, "weight", 1, importance_scores=torch.ones(1))),
    ("mask", lambda module: prune.custom_from_mask(module, "weight", torch.ones(1))),
]


def everything_of(module: torch.nn.Module) -> list[object]:
    """What a module holds, by identity and in order."""
    tables = (module._parameters, module._buffers, module._forward_pre_hooks)
    return [id(module.weight), *([(name, id(value)) for name, value in table.items()] for table in tables)]


@pytest.mark.parametrize("fail", [fail for _, fail in FAILURES], ids=[name for name, _ in FAILURES])
@pytest.mark.parametrize("rounds", [0, 1, 2], ids=["plain", "pruned", "pruned twice"])
def test_a_failed_pruning_leaves_the_module_as_it_was(rounds: int, fail: Callable[[torch.nn.Module], object]) -> None:
    module = torch.nn.Linear(3, 2)
    for _ in range(rounds):
        prune.l1_unstructured(module, "weight", 1)
    before = everything_of(module)
    with pytest.raises((ValueError, ArithmeticError, LookupError, AssertionError, RuntimeError)):
        fail(module)
    assert everything_of(module) == before


def test_a_failed_pruning_leaves_a_container_as_it_was() -> None:
    module = row(1, 2, 3)
    for _ in range(2):
        prune.l1_unstructured(module, "weight", 1)
    with pytest.raises(ArithmeticError):
        Fails.apply(module, "weight")
    (container,) = module._forward_pre_hooks.values()
    assert isinstance(container, prune.PruningContainer)
    assert len(container) == 2


def test_a_failed_pruning_leaves_a_recurrent_module_whole() -> None:
    lstm = torch.nn.LSTM(3, 1)
    with pytest.raises(RuntimeError):
        WrongMask.apply(lstm, "weight_ih_l0")
    assert all(isinstance(weight, torch.nn.Parameter) for weight in lstm._flat_weights)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("wieght", AttributeError, "wieght"),
        ("bias", TypeError, "'bias' of Linear is NoneType, not a parameter"),
        ("in_features", TypeError, "'in_features' of Linear is int, not a parameter; .* weight"),
    ],
    ids=["no such name", "None", "no parameter"],
)
def test_only_a_parameter_can_be_pruned(name: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        prune.l1_unstructured(torch.nn.Linear(2, 2, bias=False), name, 1)


def test_removing_from_what_is_not_pruned_is_refused() -> None:
    with pytest.raises(ValueError, match="'weight' of Linear is not pruned"):
        prune.remove(torch.nn.Linear(2, 2), "weight")


def test_two_hooks_on_one_tensor_are_refused() -> None:
    module = prune.l1_unstructured(row(1, 2), "weight", 1)
    (hook,) = module._forward_pre_hooks.values()
    module.register_forward_pre_hook(hook)
    with pytest.raises(RuntimeError, match="2 pruning hooks act on 'weight'"):
        prune.l1_unstructured(module, "weight", 1)


def test_a_method_that_was_not_applied_has_nothing_to_remove() -> None:
    with pytest.raises(RuntimeError, match="has not been applied"):
        prune.L1Unstructured(1).remove(row(1, 2))
