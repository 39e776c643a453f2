"""Accuracy over sparsity, for several models that were trained with different seeds."""

import math
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import torch

from pruning_client import Client, PruningRound, PruningSchedule, Rule, rules
from pruning_client.torch import load_pruned
from scripts.tutorial.digits import Digits, LeNet, accuracy, nonzero_masks, nonzero_weights, train
from scripts.tutorial.effort import Effort
from scripts.tutorial.smaller import coupled_channels

Point: TypeAlias = tuple[float, float]
"""The fraction of weights that remain, and the accuracy."""

Curves: TypeAlias = dict[str, list[list[Point]]]
"""For each method by name, the points of each model, all at the same sparsities."""

Ask: TypeAlias = Callable[[PruningRound], Rule]
"""A function that returns the rule for a round."""

SPARSEST: Final = 0.999


def draw_curves(client: Client, digits: Digits, effort: Effort) -> Curves:
    """Train models, prune each with every method to every sparsity, and measure the test accuracy."""
    schedule = PruningSchedule.constant_fraction_to(SPARSEST, rounds=effort.rounds)
    curves: Curves = {}
    for seed in range(1, effort.seeds + 1):
        torch.manual_seed(seed)
        dense = LeNet()
        train(dense, digits.train, epochs=effort.epochs)
        paths = {
            "magnitude, in rounds": in_rounds(client, dense, schedule, by_magnitude, digits, effort.tuning_epochs),
            "channels, in rounds": in_rounds(client, dense, schedule, by_channel, digits, effort.tuning_epochs),
            "magnitude, at once": at_once(client, dense, schedule, by_magnitude),
            "channels, at once": at_once(client, dense, schedule, by_channel),
            "random, at once": at_once(client, dense, schedule, by_chance),
        }
        for name, models in paths.items():
            curves.setdefault(name, []).append([point(model, digits) for model in (dense, *models)])
    return curves


def by_magnitude(step: PruningRound) -> Rule:
    """Prune the smallest weights of all layers together."""
    return rules.l1_unstructured(step.amount, scope="global", prior="zeros")


def by_chance(step: PruningRound) -> Rule:
    """Prune random weights."""
    return rules.random_unstructured(step.amount, prior="zeros")


def by_channel(step: PruningRound) -> Rule:
    """Remove the channels with the smallest norm; a weight lies between two layers, so each keeps the square root."""
    return rules.remove_units(1.0 - math.sqrt(1.0 - step.fraction), groups=coupled_channels())


def at_once(client: Client, dense: LeNet, schedule: PruningSchedule, ask: Ask) -> list[LeNet]:
    """Return the model pruned to each sparsity in one step, without fine-tuning."""
    steps = [PruningRound(number=1, before=0.0, sparsity=sparsity) for sparsity in schedule.sparsities]
    return [pruned(client, dense, ask(step)) for step in steps]


def in_rounds(  # noqa: PLR0913, PLR0917 - all that training needs
    client: Client, model: LeNet, schedule: PruningSchedule, ask: Ask, digits: Digits, epochs: int
) -> list[LeNet]:
    """Return the model after each round of pruning and fine-tuning."""
    models = []
    for step in schedule:
        model = pruned(client, model, ask(step))
        train(model, digits.train, epochs=epochs, masks=nonzero_masks(model))
        models.append(model)
    return models


def pruned(client: Client, model: LeNet, rule: Rule) -> LeNet:
    """Return a pruned copy: with fewer channels for a rule of granularity `units`, with zeros for any other rule."""
    output: Literal["removed", "pruned"] = "removed" if rule.method == "remove_units" else "pruned"
    smaller = LeNet()
    load_pruned(smaller, client.prune(model.state_dict(), rule, output=output, seed=1))
    return smaller


def point(model: LeNet, digits: Digits) -> Point:
    """Measure the remaining weights and the accuracy of one model."""
    return nonzero_weights(model) / nonzero_weights(LeNet()), accuracy(model, digits.test)
