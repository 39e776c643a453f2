"""MiniLM: its 36 matrices, sentences to collect statistics from, and others to measure the embeddings of."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tests.benchmarks.quality import text
from tests.benchmarks.removal import embeddings, loaded_minilm, tokenized
from tests.benchmarks.sentences import CALIBRATION, SENTENCES


@dataclass(frozen=True, slots=True)
class Encoder:
    """The dense model, tokens of either kind, and the dense embeddings of the held-out ones."""

    model: nn.Module
    calibration: Any
    held_out: Any
    embeddings: Tensor


@torch.no_grad()
def encoder() -> Encoder:
    """Return MiniLM as transformers loads it. Calibration has about 3,700 tokens; no sentence is in both."""
    model = loaded_minilm()
    calibration, held_out = text.sentences()
    measured = tokenized([*SENTENCES, *held_out])
    return Encoder(model, tokenized([*CALIBRATION, *calibration]), measured, embeddings(measured, model))


@torch.no_grad()
def mean_cosine(subject: Encoder, pruned: nn.Module) -> float:
    """Return the mean cosine of the embeddings of held-out sentences before and after pruning."""
    similarity = torch.cosine_similarity(subject.embeddings, embeddings(subject.held_out, pruned))
    return similarity.mean().item()


def projections(subject: Encoder, output: Any) -> Tensor:
    """Return the sum of the calibration's embeddings, of unit length, along random directions.

    The gradients of such sums have the Gram matrix of all directions of the embeddings, as cosines weigh them.
    """
    there = subject.calibration["attention_mask"].unsqueeze(-1)
    mean = (output.last_hidden_state * there).sum(1) / there.sum(1)
    directions = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    return (nn.functional.normalize(mean, dim=1) * directions).sum()
