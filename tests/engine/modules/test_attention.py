"""Pruned attention of torch computes with its masks, although it never calls its output projection."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

import pruning_engine as prune

INPUT = torch.linspace(-1, 1, 80).view(2, 5, 8)


def attention() -> nn.MultiheadAttention:
    torch.manual_seed(0)
    return nn.MultiheadAttention(8, 2, batch_first=True)


def encoder() -> nn.TransformerEncoderLayer:
    torch.manual_seed(0)
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval()


def output(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        outputs: torch.Tensor = (
            model(INPUT, INPUT, INPUT)[0] if isinstance(model, nn.MultiheadAttention) else model(INPUT)
        )
    return outputs


def weights(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """The weights of all layers, as their parents and names."""
    names = [name for name, parameter in model.named_parameters() if parameter.dim() > 1]
    return [(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in names]


@pytest.mark.parametrize("make", [attention, encoder])
def test_loaded_mask_is_applied(make: type[nn.Module]) -> None:
    masked, plain = make(), make()
    for module, name in weights(masked):
        prune.identity(module, name)
    for module, name in weights(plain):
        prune.l1_unstructured(module, name, 0.5)
    masked.load_state_dict(plain.state_dict())
    for module, name in weights(plain):
        prune.remove(module, name.removesuffix("_orig"))
    assert torch.allclose(output(masked), output(plain), atol=1e-6)
    assert not torch.allclose(output(masked), output(make()), atol=1e-2)


def test_output_projection_can_be_trained() -> None:
    model = attention()
    prune.l1_unstructured(model.out_proj, "weight", 0.5)
    before = model.out_proj.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        model(INPUT, INPUT, INPUT)[0].square().sum().backward()
        optimizer.step()
    assert torch.equal(model.out_proj.weight == 0, before == 0)
    assert not torch.equal(model.out_proj.weight, before)


def test_removal_leaves_torchs_own_class() -> None:
    model = attention()
    kind = type(model.out_proj)
    prune.l1_unstructured(model.out_proj, "weight", 0.5)
    prune.random_unstructured(model.out_proj, "bias", 2)
    pruned = model.out_proj.weight.detach().clone()
    prune.remove(model.out_proj, "weight")
    prune.remove(model.out_proj, "bias")
    assert type(model.out_proj) is kind
    assert isinstance(model.out_proj.weight, nn.Parameter)
    assert torch.equal(model.out_proj.weight, pruned)


def test_pruning_in_rounds_adds_up() -> None:
    model = attention()
    for _ in range(2):
        prune.l1_unstructured(model.out_proj, "weight", 0.5)
    assert (model.out_proj.weight == 0).sum() == 48


@pytest.mark.parametrize("duplicate", ["deepcopy", "save"])
def test_copies_are_pruned_too(duplicate: str) -> None:
    model = attention()
    prune.l1_unstructured(model.out_proj, "weight", 0.5)
    saved = io.BytesIO()
    torch.save(model, saved)
    saved.seek(0)
    other = copy.deepcopy(model) if duplicate == "deepcopy" else torch.load(saved, weights_only=False)
    assert torch.equal(output(other), output(model))
    with torch.no_grad():
        other.out_proj.get_parameter("weight_orig").zero_()
    assert not torch.equal(output(other), output(model))


def test_torchs_pruning_and_removal_work_on_it() -> None:
    model = attention()
    torch_prune.l1_unstructured(model.out_proj, "weight", 0.5)  # type: ignore[no-untyped-call]
    prune.l1_unstructured(model.out_proj, "weight", 0.5)
    torch_prune.remove(model.out_proj, "weight")  # type: ignore[no-untyped-call]
    assert (model.out_proj.weight == 0).sum() == 48
    assert "weight_orig" not in model.state_dict()


def test_error_leaves_torchs_own_class() -> None:
    model = attention()
    kind = type(model.out_proj)
    with pytest.raises(ValueError, match="out of range"):
        prune.l1_unstructured(model.out_proj, "weight", 1.5)
    assert type(model.out_proj) is kind
