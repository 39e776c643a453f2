"""The first part of the tutorial: what a mask is, the methods that compute one, and how to make it permanent."""

import copy
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

import pruning_engine as prune
from scripts.tutorial.digits import Digits, Images, Layer, LeNet, accuracy, layers, sparsity, train
from scripts.tutorial.effort import Effort

PruneLayer: TypeAlias = Callable[[Layer], object]
"""A function that prunes one layer."""

CENTER: Final = F.pad(torch.ones(3, 3), (1, 1, 1, 1))
"""A mask for kernels of 5 x 5 that prunes their border."""


def trained(digits: Digits, effort: Effort) -> LeNet:
    """Train a LeNet until it recognizes almost every digit."""
    model = LeNet()
    train(model, digits.train, epochs=effort.epochs)
    for name, parameter in model.named_parameters():
        print(f"{name:12} {parameter.numel():7,}  {list(parameter.shape)}")
    print(f"accuracy {accuracy(model, digits.validation):.1%} on {len(digits.validation)} validation digits")
    return model


def look_inside(model: LeNet) -> None:
    """Prune one layer and print the result: the original weight, a mask, and a hook that multiplies them."""
    layer = copy.deepcopy(model).conv1
    prune.random_unstructured(layer, "weight", amount=0.3, seed=1)
    weight_orig, weight_mask = layer.get_parameter("weight_orig"), layer.get_buffer("weight_mask")

    print("parameters:", [name for name, _ in layer.named_parameters()])
    print("buffers:   ", [name for name, _ in layer.named_buffers()])
    print("hooks:     ", [type(hook).__name__ for hook in layer._forward_pre_hooks.values()])
    print("weight is weight_orig * weight_mask:", torch.equal(layer.weight, weight_orig * weight_mask))
    print("the mask of the first filter:")
    for row in weight_mask[0, 0].int().tolist():
        print("   ", *row)


def prune_twice(model: LeNet) -> None:
    """Prune a pruned layer: the second method acts on the remaining weights, and a container holds both methods."""
    layer = copy.deepcopy(model).conv1
    prune.random_unstructured(layer, "weight", amount=0.3, seed=1)
    print(f"once:  {int(layer.get_buffer('weight_mask').sum())} of {layer.weight.numel()} weights remain")

    prune.ln_structured(layer, "weight", amount=0.5, n=2, dim=0)
    filters = layer.get_buffer("weight_mask").flatten(1).any(1)
    print(f"twice: {int(layer.get_buffer('weight_mask').sum())}, in {int(filters.sum())} of {len(filters)} filters")

    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, prune.PruningContainer):
            print("the hook is a container of", " and ".join(type(method).__name__ for method in hook))
    print("the state_dict holds", ", ".join(layer.state_dict()))


def compare_methods(model: LeNet, digits: Digits) -> None:
    """Prune half of every layer with each of torch's methods."""
    scores = taylor_scores(model, digits.train)
    methods: dict[str, PruneLayer] = {
        "identity": lambda layer: prune.identity(layer, "weight"),
        "random_unstructured": lambda layer: prune.random_unstructured(layer, "weight", 0.5, seed=1),
        "l1_unstructured": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        "... importance_scores": lambda layer: prune.l1_unstructured(layer, "weight", 0.5, scores[layer.weight.shape]),
        "random_structured": lambda layer: prune.random_structured(layer, "weight", 0.5, dim=1, seed=1),
        "ln_structured": lambda layer: prune.ln_structured(layer, "weight", 0.5, n=2, dim=1),
        "custom_from_mask": prune_borders,
    }
    for name, method in methods.items():
        show(name, on_each_layer(model, method), digits)


def taylor_scores(model: LeNet, images: Images) -> Mapping[torch.Size, Tensor]:
    """Return weight times gradient, about the change of the loss without the weight, by the weight's shape.

    Source: Molchanov et al. 2017, arXiv:1611.06440, section 2.2 (Taylor expansion), here for single weights.
    """
    model.zero_grad()
    F.cross_entropy(model(images.pixels), images.labels).backward()  # type: ignore[no-untyped-call]  # torch's
    gradients = {layer: layer.weight.grad for layer in layers(model)}
    return {layer.weight.shape: layer.weight.detach() * grad for layer, grad in gradients.items() if grad is not None}


def prune_borders(layer: Layer) -> None:
    """Prune the border of every kernel with a given mask."""
    if isinstance(layer, nn.Conv2d):
        prune.custom_from_mask(layer, "weight", CENTER.expand_as(layer.weight))


def prune_globally(model: LeNet, digits: Digits) -> None:
    """Prune 90% of every layer, and compare with 90% of all layers together."""
    local = on_each_layer(model, lambda layer: prune.l1_unstructured(layer, "weight", 0.9))
    together = copy.deepcopy(model)
    prune.global_unstructured([(layer, "weight") for layer in layers(together)], prune.L1Unstructured, amount=0.9)
    for name, pruned in {"each layer": local, "all together": together}.items():
        show(name, pruned, digits)
        print("   ", "   ".join(f"{part} {sparsity(layer):.0%}" for part, layer in pruned.named_children()))


class BelowDeviation(prune.BasePruningMethod):
    """Prune weights that are smaller than a fraction of the layer's standard deviation.

    Source: Han et al. 2015, arXiv:1506.02626, section 4.
    """

    PRUNING_TYPE = "unstructured"

    def __init__(self, fraction: float) -> None:
        self.fraction = fraction

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask of the unpruned weights that are large enough."""
        return default_mask * (t.abs() >= self.fraction * t.std())


def prune_with_own_method(model: LeNet, digits: Digits) -> None:
    """Prune with a custom method: it computes the mask, everything else works as with any other method."""
    for fraction in (0.5, 1.0, 2.0):
        pruned = on_each_layer(model, lambda layer, f=fraction: BelowDeviation.apply(layer, "weight", f))  # type: ignore[misc]
        show(f"below {fraction} deviations", pruned, digits)


def make_final(model: LeNet) -> LeNet:
    """Prune 90% and remove the masks: the result is a plain model that contains zeros."""
    pruned = copy.deepcopy(model)
    prune.global_unstructured([(layer, "weight") for layer in layers(pruned)], prune.L1Unstructured, amount=0.9)
    print(f"is_pruned: {prune.is_pruned(pruned)}, {len(pruned.state_dict())} tensors")
    for layer in layers(pruned):
        prune.remove(layer, "weight")
    print(f"is_pruned: {prune.is_pruned(pruned)}, {len(pruned.state_dict())} tensors, {sparsity(pruned):.1%} zeros")
    return pruned


def on_each_layer(model: LeNet, method: PruneLayer) -> LeNet:
    """Return a copy of the model with pruned layers."""
    pruned = copy.deepcopy(model)
    for layer in layers(pruned):
        method(layer)
    return pruned


def show(name: str, model: nn.Module, digits: Digits) -> None:
    """Print the sparsity and the accuracy of a model."""
    print(f"{name:24} {sparsity(model):6.1%} zeros, accuracy {accuracy(model, digits.validation):6.1%}")
