"""Handwritten digits and a LeNet that classifies them: what the tutorial trains, prunes and measures.

The digits are those of scikit-learn: 1,797 images of 8 x 8 pixels, scanned from real forms. They are enlarged to
28 x 28, the input size of LeNet.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
from torch import Tensor, nn

import pruning_engine as prune

Masks: TypeAlias = Mapping[Tensor, Tensor]
"""For each parameter, False where a weight is pruned."""

Layer: TypeAlias = nn.Conv2d | nn.Linear

BATCH: Final = 64
SIDE: Final = 28


class LeNet(nn.Module):
    """LeNet-5 in the widths of Caffe, used by pruning papers since Han et al.: 431,080 parameters.

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition"; Han et al. 2015,
    arXiv:1506.02626, table 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, kernel_size=5)
        self.conv2 = nn.Conv2d(20, 50, kernel_size=5)
        self.fc1 = nn.Linear(50 * 4 * 4, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return a score for each digit. Shape: (images, 1, 28, 28) -> (images, 10)."""
        features = F.max_pool2d(F.relu(self.conv1(images)), 2)
        features = F.max_pool2d(F.relu(self.conv2(features)), 2)
        return self.fc2(F.relu(self.fc1(features.flatten(1))))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Images:
    """Images and their labels."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Digits:
    """Disjoint images for training, for decisions, and for the final test."""

    train: Images
    validation: Images
    test: Images


def load(images: int) -> Digits:
    """Return the digits in three stratified parts of at most `images` images each."""
    scanned = load_digits()
    small = torch.tensor(scanned.images, dtype=torch.float32).unsqueeze(1) / 16
    pixels = F.interpolate(small, (SIDE, SIDE), mode="bilinear")
    labels = torch.tensor(scanned.target)
    train, rest = train_test_split(range(len(labels)), test_size=0.4, stratify=labels, random_state=0)
    validation, test = train_test_split(rest, test_size=0.5, stratify=labels[rest], random_state=0)
    parts = [Images((pixels[part] - pixels.mean()) / pixels.std(), labels[part]) for part in (train, validation, test)]
    return Digits(*(Images(part.pixels[:images], part.labels[:images]) for part in parts))


def train(model: nn.Module, images: Images, *, epochs: int, masks: Masks | None = None) -> None:
    """Train by SGD with momentum and weight decay; weights that the masks prune stay zero."""
    batches = -(-len(images) // BATCH)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=epochs * batches)
    prune.hold_masks(optimizer, masks or {})
    model.train()
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(images)), BATCH):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images.pixels[batch]), images.labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
            schedule.step()


@torch.no_grad()
def answers(model: nn.Module, images: Images) -> Tensor:
    """Return the digit that the model predicts for each image."""
    model.eval()
    return model(images.pixels).argmax(1)  # type: ignore[no-any-return]


def accuracy(model: nn.Module, images: Images) -> float:
    """Return the fraction of images that the model classifies correctly."""
    return (answers(model, images) == images.labels).double().mean().item()


def layers(model: nn.Module) -> list[Layer]:
    """Return the layers with weights to prune."""
    return [layer for layer in model.modules() if isinstance(layer, Layer)]


def nonzero_masks(model: nn.Module) -> Masks:
    """Return a mask of the nonzero entries of each weight."""
    return {layer.weight: layer.weight.detach() != 0 for layer in layers(model)}


def nonzero_weights(model: nn.Module) -> int:
    """Return the number of nonzero weights, after masks are applied."""
    return sum(int((layer.weight != 0).sum()) for layer in layers(model))


def sparsity(model: nn.Module) -> float:
    """Return the fraction of the model's weights that are zero."""
    return 1 - nonzero_weights(model) / sum(layer.weight.numel() for layer in layers(model))


@torch.no_grad()
def milliseconds(models: Sequence[nn.Module], images: Images, *, times: int) -> list[float]:
    """Return each model's median time for one batch of all images; models alternate, so noise affects all equally."""
    seconds: list[list[float]] = [[] for _ in models]
    for _ in range(times):
        for model, measured in zip(models, seconds, strict=True):
            model.eval()
            begin = time.perf_counter()
            model(images.pixels)
            measured.append(time.perf_counter() - begin)
    return [1e3 * statistics.median(measured) for measured in seconds]
