"""The second part of the tutorial: fine-tuning after pruning, in rounds, and validating the result."""

import copy

from pruning_client import Client, PruningSchedule, rules
from scripts.tutorial.digits import Digits, LeNet, accuracy, answers, nonzero_masks, sparsity, train
from scripts.tutorial.effort import Effort


def hold_zeros(pruned: LeNet, digits: Digits) -> LeNet:
    """Fine-tune a pruned model, once without and once with `hold_masks`."""
    free, held = copy.deepcopy(pruned), copy.deepcopy(pruned)
    train(free, digits.train, epochs=1)
    print(f"without hold_masks: {sparsity(free):6.1%} zeros")
    train(held, digits.train, epochs=1, masks=nonzero_masks(held))
    print(f"with hold_masks:    {sparsity(held):6.1%} zeros, accuracy {accuracy(held, digits.validation):.1%}")
    return held


def prune_in_rounds(client: Client, model: LeNet, sparsity: float, digits: Digits, effort: Effort) -> LeNet:
    """Alternate pruning and fine-tuning until the sparsity is reached."""
    model = copy.deepcopy(model)
    print("round   zeros   weights left   pruned   fine-tuned")
    for step in PruningSchedule.cubic(sparsity, rounds=effort.rounds):
        rule = rules.l1_unstructured(step.amount, scope="global", prior="zeros")
        result = client.prune(model.state_dict(), rule)
        model.load_state_dict(result.state_dict)
        before = accuracy(model, digits.validation)
        train(model, digits.train, epochs=effort.tuning_epochs, masks=nonzero_masks(model))
        after = accuracy(model, digits.validation)
        left = result.report.entries - result.report.pruned
        print(f"{step.number:5}  {result.report.sparsity:6.1%}  {left:13,}   {before:6.1%}   {after:10.1%}")
    return model


def validate(dense: LeNet, pruned: LeNet, digits: Digits) -> None:
    """Compare two models on the test digits, overall and for each digit."""
    images = digits.test
    of_dense, of_pruned = answers(dense, images), answers(pruned, images)
    right_before, right_after = of_dense == images.labels, of_pruned == images.labels
    print(f"accuracy: dense {right_before.double().mean():.1%}, pruned {right_after.double().mean():.1%}")
    print(f"same prediction: {(of_dense == of_pruned).double().mean():.1%}")
    print("digit  ", *(f"{digit:5}" for digit in range(10)))
    for name, right in {"dense": right_before, "pruned": right_after}.items():
        parts = [right[images.labels == digit].double().mean() for digit in range(10)]
        print(f"{name:7}", *(f"{part:5.0%}" for part in parts))
