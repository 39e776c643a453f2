"""The two models that methods are measured on, behind one interface."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor, nn

from tests.benchmarks.quality.decoder import decoder, perplexity
from tests.benchmarks.quality.encoder import encoder, mean_cosine, projections

Batch: TypeAlias = Mapping[str, Any]

_SEQUENCES_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Subject:
    """A model with what it is calibrated on and measured by.

    Attributes:
        matrices: patterns of the weights that are pruned.
        ffn: the name of the map of its feed-forward channels.
        batches: what statistics are collected from, once, on the dense model.
        loss_of: what gradients are of, from what the model returns for a batch.
        measure: the held-out quality of a model: a mean cosine or a perplexity.
        dense: `measure` of the dense model.
    """

    name: str
    model: nn.Module
    matrices: tuple[str, ...]
    ffn: str
    batches: Sequence[Batch]
    loss_of: Callable[[Any], Tensor]
    measure: Callable[[nn.Module], float]
    dense: float

    def loss(self, quality: float) -> float:
        """Return what pruning cost: 1 - cosine, or the increase of the perplexity."""
        return abs(quality - self.dense)

    def layers(self) -> dict[str, nn.Linear]:
        """Return the layers that are pruned, by their names in the model."""
        return {
            name: layer
            for name, layer in self.model.named_modules()
            if isinstance(layer, nn.Linear) and any(fnmatchcase(f"{name}.weight", pattern) for pattern in self.matrices)
        }


def minilm() -> Subject:
    """Return MiniLM, measured by the mean cosine of its embeddings with those of the dense model."""
    subject = encoder()
    layers = ("query", "key", "value", "output.dense", "intermediate.dense")
    matrices = tuple(f"encoder.*{layer}.weight" for layer in layers)
    return Subject(
        "MiniLM",
        subject.model,
        matrices,
        "bert_ffn",
        batches=[subject.calibration],
        loss_of=partial(projections, subject),
        measure=partial(mean_cosine, subject),
        dense=1.0,
    )


def small_decoder() -> Subject:
    """Return the small LLaMA, measured by its perplexity; the first time it is trained."""
    subject = decoder()

    def measure(model: nn.Module) -> float:
        return perplexity(model, subject.held_out)

    parts = torch.split(subject.calibration, _SEQUENCES_AT_ONCE)
    return Subject(
        "decoder",
        subject.model,
        ("*_proj.weight",),
        "llama_mlp",
        batches=[{"input_ids": part, "labels": part} for part in parts],
        loss_of=lambda output: output.loss,
        measure=measure,
        dense=measure(subject.model),
    )


@torch.no_grad()
def grams(subject: Subject) -> dict[str, Tensor]:
    """Return XᵀX of each layer's inputs, padding left out, summed in fp64: for the peers' side."""
    sums: dict[str, Tensor] = {}
    real = torch.ones(0, dtype=torch.bool)

    def add(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rows = inputs[0].flatten(0, -2)[real].double()
        sums[name] = sums.get(name, 0) + rows.T @ rows

    handles = [layer.register_forward_pre_hook(partial(add, name)) for name, layer in subject.layers().items()]
    for batch in subject.batches:
        real = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).flatten().bool()
        subject.model(**batch)
    for handle in handles:
        handle.remove()
    return {name: total.float() for name, total in sums.items()}
