"""`copy.deepcopy` of pruned modules, and the other ways in which modules are copied and called."""

import copy
import pickle

import pytest
import torch
from torch.func import functional_call

import pruning_engine as prune
from tests.engine.pruned_modules import backward, mask_of, weight_of

INPUT = torch.tensor([[1.0, -2.0, 3.0]])


@pytest.fixture
def model() -> torch.nn.Sequential:
    """Two layers, the first of them pruned twice."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    prune.l1_unstructured(model[0], "weight", 0.5)
    prune.ln_structured(model[0], "weight", 1, n=2, dim=0)
    return model


def test_a_copy_computes_the_same(model: torch.nn.Sequential) -> None:
    assert torch.equal(copy.deepcopy(model)(INPUT), model(INPUT))


def test_a_copy_of_a_copy_trains_by_itself(model: torch.nn.Sequential) -> None:
    twin = copy.deepcopy(copy.deepcopy(model))
    backward(weight_of(twin[0]))
    gradient = twin[0].get_parameter("weight_orig").grad
    assert gradient is not None
    assert torch.equal(gradient, mask_of(twin[0]))
    assert model[0].get_parameter("weight_orig").grad is None


def test_a_copy_can_be_made_after_a_forward_pass(model: torch.nn.Sequential) -> None:
    backward(model(INPUT))
    assert torch.equal(copy.deepcopy(model)(INPUT), model(INPUT))


def test_a_copy_made_without_gradients_trains(model: torch.nn.Sequential) -> None:
    with torch.no_grad():
        twin = copy.deepcopy(model)
    backward(weight_of(twin[0]))
    assert twin[0].get_parameter("weight_orig").grad is not None


def test_a_copy_can_be_pruned_on(model: torch.nn.Sequential) -> None:
    twin = prune.l1_unstructured(copy.deepcopy(model)[0], "weight", 1.0)
    assert not weight_of(twin).any()
    assert weight_of(model[0]).any()


def test_tied_weights_of_a_copy_are_tied() -> None:
    first, second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    second.weight = first.weight
    for layer in (first, second):
        prune.l1_unstructured(layer, "weight", 0.5)
    twin = copy.deepcopy(torch.nn.Sequential(first, second))
    assert twin[0].weight_orig is twin[1].weight_orig
    assert twin[0].weight_orig is not first.weight_orig


def test_a_recurrent_module_is_copied() -> None:
    lstm = prune.l1_unstructured(torch.nn.LSTM(3, 3), "weight_hh_l0", 0.5)
    twin = copy.deepcopy(lstm)
    assert torch.equal(twin(INPUT)[0], lstm(INPUT)[0])
    assert twin._flat_weights[1] is twin.weight_hh_l0


def test_a_pickled_module_comes_back_and_can_be_copied(model: torch.nn.Sequential) -> None:
    twin = copy.deepcopy(pickle.loads(pickle.dumps(model)))  # noqa: S301 - written a line before
    assert torch.equal(twin(INPUT), model(INPUT))


def test_a_module_of_another_dtype_is_copied(model: torch.nn.Sequential) -> None:
    assert weight_of(copy.deepcopy(model.double())[0]).dtype is torch.float64


def test_a_shallow_copy_still_shares(model: torch.nn.Sequential) -> None:
    assert copy.copy(model[0]).weight_orig is model[0].weight_orig


def test_functional_call_prunes_what_it_is_given_and_leaves_a_module_that_copies(model: torch.nn.Sequential) -> None:
    doubled = {name: 2 * parameter for name, parameter in model.named_parameters()}
    assert functional_call(model, doubled, (INPUT,)).shape == (1, 2)
    assert torch.equal(copy.deepcopy(model)(INPUT), model(INPUT))


def test_torch_compile_takes_a_pruned_module_whole(model: torch.nn.Sequential) -> None:
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(INPUT), model(INPUT))
    assert torch.equal(copy.deepcopy(model)(INPUT), model(INPUT))
