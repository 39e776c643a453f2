"""Statistics of kinds "layers" and "experts", compared with their formulas on real small models."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from pruning_client import Statistics
from pruning_client.errors import MismatchError, RecipeError
from pruning_client.torch import collect_statistics
from tests.client.torch import tiny_models as models

BLOCKS = [models.mixtral, models.qwen3_moe, models.granite, models.gpt_oss]


def numbers(statistics: Statistics, name: str) -> Any:
    return np.frombuffer(statistics.tensors[name].data(), np.float64)


def scores(statistics: Statistics, group: str) -> Any:
    return numbers(statistics, f"{group}:unit_sum") / numbers(statistics, f"{group}:unit_count")


def hidden_states(model: nn.Module, batch: dict[str, Tensor]) -> list[Tensor]:
    """Return what each layer of a GPT-2 gets, and what the last one returns, without padding."""
    found: list[Tensor] = []
    layers = cast("Any", model).transformer.h
    hooks = [layer.register_forward_pre_hook(lambda _, args: found.append(args[0].clone())) for layer in layers]
    hooks.append(layers[-1].register_forward_hook(lambda *args: found.append(args[-1].clone())))
    with torch.no_grad():
        model(**batch)
    for hook in hooks:
        hook.remove()
    real = batch.get("attention_mask", torch.ones_like(batch["input_ids"])) == 1
    return [each[real].double() for each in found]


def test_influence_is_one_minus_the_mean_cosine() -> None:
    model, batch = models.gpt2(), models.padded()
    found = collect_statistics(model, [batch], kind="layers")
    states = hidden_states(model, batch)
    expected = [1 - torch.cosine_similarity(x, y, dim=1).mean() for x, y in pairwise(states)]
    np.testing.assert_allclose(scores(found, "transformer.h"), expected, rtol=1e-12)
    assert found.tokens == {"transformer.h": 2 * 11}


def test_influence_of_batches_adds_up_and_merges() -> None:
    model, batches = models.llama(), [models.padded(), models.padded((5, 2, 3))]
    once = collect_statistics(model, batches, kind="layers")
    merged = collect_statistics(model, batches[:1], kind="layers").merge(
        collect_statistics(model, batches[1:], kind="layers")
    )
    np.testing.assert_allclose(scores(once, "model.layers"), scores(merged, "model.layers"), rtol=1e-14)


def test_a_layer_that_changes_nothing_has_no_influence() -> None:
    model = models.llama()
    layer = cast("Any", model).model.layers[1]
    with torch.no_grad():
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    found = collect_statistics(model, [models.tokens()], kind="layers")
    assert abs(scores(found, "model.layers")[1]) < 1e-12


def test_stacks_have_their_names_on_disk() -> None:
    sizes: dict[str, Any] = models.SIZES | {"image_size": 8, "patch_size": 4}
    model = models.seeded(transformers.ViTModel, transformers.ViTConfig(**sizes))
    found = collect_statistics(model, [{"pixel_values": torch.rand(2, 3, 8, 8)}], kind="layers")
    assert found.weights == ("encoder.layer",)
    assert found.tokens == {"encoder.layer": 2 * 2 * 5}


def test_encoder_and_decoder_are_stacks_of_their_own() -> None:
    config = transformers.T5Config(
        d_model=16, d_kv=8, d_ff=24, num_layers=2, num_decoder_layers=3, num_heads=2, vocab_size=32
    )
    model = models.seeded(transformers.T5ForConditionalGeneration, config)
    batch = models.padded() | {"decoder_input_ids": models.tokens(2, 3)["input_ids"]}
    found = collect_statistics(model, [batch], kind="layers")
    assert found.tokens == {"encoder.block": 2 * 11, "decoder.block": 3 * 6}


def reap(model: nn.Module, batch: dict[str, Tensor], path: str) -> tuple[Tensor, Tensor]:
    """Return sums and counts by the formula, from what the experts of one block get."""
    experts = cast("Any", model.get_submodule(path))
    given: list[Any] = []
    hook = experts.register_forward_pre_hook(lambda _, args: given.extend(args))
    with torch.no_grad():
        model(**batch)
    hook.remove()
    real = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).flatten() == 1
    rows, chosen, weights = (each.reshape(len(real), -1)[real] for each in given)
    sums, counts = torch.zeros(len(experts.down_proj)).double(), torch.zeros(len(experts.down_proj)).double()
    for row, which, gates in zip(rows, chosen, weights, strict=True):
        for expert, gate in zip(which.tolist(), gates / gates.sum(), strict=True):
            alone = experts(row[None], torch.tensor([[expert]]), torch.ones(1, 1))
            sums[expert] += gate * alone.norm()
            counts[expert] += 1
    return sums, counts


@pytest.mark.parametrize("make", BLOCKS, ids=lambda make: make.__name__)
@torch.no_grad()
def test_saliency_is_gate_times_norm(make: Callable[[], nn.Module]) -> None:
    model, batch = make(), models.padded()
    found = collect_statistics(model, [batch], kind="experts")
    group = found.weights[0]
    sums, counts = reap(model, batch, next(path for path, _ in model.named_modules() if path.endswith(".experts")))
    np.testing.assert_allclose(numbers(found, f"{group}:unit_sum"), sums, rtol=1e-5)
    np.testing.assert_array_equal(numbers(found, f"{group}:unit_count"), counts)


@pytest.mark.parametrize(
    ("make", "group"),
    [
        (models.mixtral, "model.layers.1.block_sparse_moe"),
        (models.qwen3_moe, "model.layers.1.mlp"),
        (models.granite, "model.layers.1.block_sparse_moe"),
        (models.gpt_oss, "model.layers.1.mlp"),
        (models.llama4, "model.layers.1.feed_forward"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_blocks_of_experts_have_their_names_on_disk(make: Callable[[], nn.Module], group: str) -> None:
    assert group in collect_statistics(make(), [models.tokens()], kind="experts").weights


class ListedExperts(nn.Module):
    """A mixture as a list of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.top_k = 2
        self.gate = nn.Linear(4, 3, bias=False)
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, rows: Tensor) -> Tensor:
        weights, chosen = self.gate(rows).softmax(-1).topk(2)
        gates = torch.zeros(len(rows), 3).scatter(1, chosen, weights / weights.sum(1, keepdim=True))
        return sum((gates[:, [at]] * expert(rows) for at, expert in enumerate(self.experts)), torch.zeros(1))


def test_experts_in_a_list_are_measured() -> None:
    torch.manual_seed(0)
    block, rows = ListedExperts(), torch.randn(9, 4)
    found = collect_statistics(nn.Sequential(block), [rows], kind="experts")
    weights, chosen = block.gate(rows).softmax(-1).topk(2)
    gates = torch.zeros(9, 3).scatter(1, chosen, weights / weights.sum(1, keepdim=True))
    norms = torch.stack([expert(rows).norm(dim=1) for expert in block.experts], dim=1)
    np.testing.assert_allclose(numbers(found, "0:unit_sum"), (gates * norms).sum(0).detach(), rtol=1e-6)
    np.testing.assert_array_equal(numbers(found, "0:unit_count"), gates.gt(0).sum(0))


def test_statistics_of_units_are_saved_and_loaded(tmp_path: Path) -> None:
    found = collect_statistics(models.mixtral(), [models.tokens()], kind="experts")
    found.save(tmp_path / "reap.safetensors")
    loaded = Statistics.load(tmp_path / "reap.safetensors")
    assert (loaded.kind, loaded.weights, loaded.tokens) == ("experts", found.weights, found.tokens)
    np.testing.assert_array_equal(scores(loaded, found.weights[0]), scores(found, found.weights[0]))


def test_patterns_select_groups() -> None:
    found = collect_statistics(models.mixtral(), [models.tokens()], kind="experts", include="model.layers.1.*")
    assert found.weights == ("model.layers.1.block_sparse_moe",)


@pytest.mark.parametrize("kind", ["layers", "experts"])
def test_models_without_such_units_are_refused(kind: Any) -> None:
    with pytest.raises(MismatchError, match="the model has no"):
        collect_statistics(nn.Sequential(nn.Linear(4, 4)), [torch.ones(1, 4)], kind=kind)


def test_unit_statistics_take_no_loss() -> None:
    with pytest.raises(RecipeError, match="take no loss"):
        collect_statistics(models.llama(), [models.tokens()], kind="layers", loss=lambda output: output.loss)


def test_infinite_values_are_refused() -> None:
    model = models.gpt2()
    with torch.no_grad():
        cast("Any", model).transformer.h[1].mlp.c_proj.bias[0] = torch.inf
    with pytest.raises(MismatchError, match="has NaN or infinite values"):
        collect_statistics(model, [models.tokens()], kind="layers")
