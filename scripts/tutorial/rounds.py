"""The tutorial's second part: fine-tuning after pruning, in rounds, and whether it was worth it."""

import copy

from pruning_client import Client, PruningSchedule, rules
from scripts.tutorial.digits import Digits, LeNet, accuracy, answers, sparsity, survivors, train
from scripts.tutorial.effort import Effort


def hold_zeros(pruned: LeNet, digits: Digits) -> LeNet:
    """Fine-tune a model with zeros, once as if they were weights like any other, and once holding them."""
    free, held = copy.deepcopy(pruned), copy.deepcopy(pruned)
    train(free, digits.train, epochs=1)
    print(f"one epoch, nothing held: {sparsity(free):6.1%} zeros")
    train(held, digits.train, epochs=1, masks=survivors(held))
    print(f"one epoch, masks held:   {sparsity(held):6.1%} zeros, reads {accuracy(held, digits.validation):.1%}")
    return held


def prune_in_rounds(client: Client, model: LeNet, sparsity: float, digits: Digits, effort: Effort) -> LeNet:
    """Prune a little, fine-tune, and go on, until so many are gone."""
    model = copy.deepcopy(model)
    print("round   zeros   weights left   pruned   fine-tuned")
    for step in PruningSchedule.cubic(sparsity, rounds=effort.rounds):
        rule = rules.l1_unstructured(step.amount, scope="global", prior="zeros")
        result = client.prune(model.state_dict(), rule)
        model.load_state_dict(result.state_dict)
        before = accuracy(model, digits.validation)
        train(model, digits.train, epochs=effort.tuning_epochs, masks=survivors(model))
        after = accuracy(model, digits.validation)
        left = result.report.entries - result.report.pruned
        print(f"{step.number:5}  {result.report.sparsity:6.1%}  {left:13,}   {before:6.1%}   {after:10.1%}")
    return model


def validate(dense: LeNet, pruned: LeNet, digits: Digits) -> None:
    """Judge by digits that nobody has looked at until now, and digit by digit."""
    images = digits.test
    of_dense, of_pruned = answers(dense, images), answers(pruned, images)
    right_before, right_after = of_dense == images.labels, of_pruned == images.labels
    print(f"dense reads {right_before.double().mean():.1%}, pruned {right_after.double().mean():.1%}")
    print(f"they answer alike on {(of_dense == of_pruned).double().mean():.1%}")
    print("digit  ", *(f"{digit:5}" for digit in range(10)))
    for name, right in {"dense": right_before, "pruned": right_after}.items():
        parts = [right[images.labels == digit].double().mean() for digit in range(10)]
        print(f"{name:7}", *(f"{part:5.0%}" for part in parts))
