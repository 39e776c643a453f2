"""Gram matrices of output gradients, compared with what autograd leaves at the outputs themselves."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pruning_client import Statistics
from pruning_client.errors import MismatchError
from pruning_client.torch import collect_statistics
from tests.client.torch import tiny_models as models


def out_gram(statistics: Statistics, weight: str) -> Any:
    found = statistics.for_weights([weight], [":out_gram"]).tensors[f"{weight}:out_gram"]
    return np.frombuffer(found.data(), np.float32).reshape(found.shape)


def retained(layer: nn.Module, outputs: list[Tensor]) -> None:
    """Keep a layer's outputs with their gradients."""

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        output.retain_grad()
        outputs.append(output)

    layer.register_forward_hook(keep)


def expected(model: nn.Module, layer: str, batch: Any, channel_dim: int = -1) -> Any:
    """Return G by a backward pass through the whole model, in which all parameters take part."""
    outputs: list[Tensor] = []
    retained(model.get_submodule(layer), outputs)
    result = model(**batch) if isinstance(batch, dict) else model(batch)
    loss(result).backward()  # type: ignore[no-untyped-call]  # torch's
    assert outputs[0].grad is not None
    rows = outputs[0].grad.movedim(channel_dim, -1).flatten(0, -2).double()
    return (rows.T @ rows).numpy()


def loss(result: Any) -> Tensor:
    tensor: Tensor = (
        result
        if isinstance(result, Tensor)
        else result.last_hidden_state
        if "last_hidden_state" in result
        else result.logits
    )
    return tensor.square().mean()


@pytest.mark.parametrize(
    ("make", "layer"),
    [(models.llama, "model.layers.0.mlp.down_proj"), (models.gpt2, "transformer.h.0.mlp.c_fc")],
    ids=["Linear", "Conv1D"],
)
def test_gram_is_that_of_the_gradients(make: Callable[[], nn.Module], layer: str) -> None:
    found = collect_statistics(make(), [models.tokens()], kind="gram", loss=loss)
    np.testing.assert_allclose(
        out_gram(found, f"{layer}.weight"), expected(make(), layer, models.tokens()), rtol=1e-4, atol=1e-12
    )


def test_gradients_of_a_convolution_are_those_of_its_channels() -> None:
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)), torch.randn(2, 3, 8, 8)
    found = collect_statistics(model, [images], kind="gram", loss=loss)
    np.testing.assert_allclose(out_gram(found, "0.weight"), expected(model, "0", images, 1), rtol=1e-4, atol=1e-12)


def test_batches_add_up() -> None:
    once, twice = (collect_statistics(models.llama(), count * [models.tokens()], loss=loss) for count in (1, 2))
    weight = "model.layers.0.self_attn.q_proj.weight"
    np.testing.assert_allclose(out_gram(twice, weight), 2 * out_gram(once, weight), rtol=1e-6)


def test_frozen_parameters_are_no_obstacle() -> None:
    frozen = models.llama().requires_grad_(False)
    weight = "model.layers.1.mlp.up_proj.weight"
    found, other = (
        out_gram(collect_statistics(model, [models.tokens()], loss=loss), weight) for model in (frozen, models.llama())
    )
    np.testing.assert_allclose(found, other, rtol=1e-6)


def test_parameters_have_no_gradients_afterwards() -> None:
    model = models.llama()
    collect_statistics(model, [models.tokens()], loss=loss)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_inputs_are_counted_as_without_a_loss() -> None:
    with_loss, without = (
        collect_statistics(models.llama(), [models.tokens()], kind="gram", loss=one) for one in (loss, None)
    )
    suffixes = (":in_sum2", ":in_sum", ":in_count", ":in_gram")
    found, other = (statistics.for_weights(without.weights, suffixes) for statistics in (with_loss, without))
    assert found.aliases == other.aliases
    assert {name: tensor.data().tobytes() for name, tensor in found.tensors.items()} == {
        name: tensor.data().tobytes() for name, tensor in other.tensors.items()
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda result: result.logits, "one finite number"),
        (lambda _: 0.5, "one finite number"),
        (lambda result: result.logits.mean() * torch.nan, "one finite number"),
        (lambda result: result.logits.mean().detach(), "detached"),
    ],
    ids=["not a number", "no tensor", "NaN", "detached"],
)
def test_losses_that_say_nothing_are_refused(wrong: Callable[[Any], Tensor], message: str) -> None:
    with pytest.raises(MismatchError, match=message):
        collect_statistics(models.llama(), [models.tokens()], loss=wrong)
