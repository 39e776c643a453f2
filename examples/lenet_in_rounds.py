"""Prune a LeNet in rounds: prune a little, fine-tune what remains, repeat, until nine of ten are zero.

    pip install 'pruning-service[service]' scikit-learn
    python examples/lenet_in_rounds.py

Trains on scikit-learn's handwritten digits, in a few seconds on one core.
"""

import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # it ships no types
from torch import nn
from torch.nn import functional

from pruning_client import LocalClient, PruningSchedule, rules

pixels, labels = load_digits(return_X_y=True)
IMAGES, LABELS = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(labels)
TRAIN = 1400  # images to train on; the other 397 are for testing


def train(model: nn.Module, epochs: int) -> None:
    """Train, and leave zeros of matrices zero."""
    masks = {weight: weight != 0 for weight in model.parameters() if weight.dim() > 1}
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(epochs):
        for batch in torch.randperm(TRAIN).reshape(14, 100):
            optimizer.zero_grad()
            functional.cross_entropy(model(IMAGES[batch]), LABELS[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                for weight, mask in masks.items():
                    weight.mul_(mask)


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    """Return the part of the test images that are recognized."""
    return float((model(IMAGES[TRAIN:]).argmax(1) == LABELS[TRAIN:]).float().mean())


def main() -> None:
    """Train the dense model, then prune and fine-tune it in four rounds."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU()]
    model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    train(model, epochs=8)
    print(f"dense: accuracy {accuracy(model):.1%}")
    with LocalClient() as client:
        for step in PruningSchedule.cubic(0.9, rounds=4):
            rule = rules.l1_unstructured(step.amount, scope="global", prior="zeros")
            model.load_state_dict(client.prune(model.state_dict(), rule).state_dict)
            pruned = accuracy(model)
            train(model, epochs=4)
            print(f"round {step.number}: {step.sparsity:.1%} zeros, accuracy {pruned:.1%}, tuned {accuracy(model):.1%}")


if __name__ == "__main__":
    main()
