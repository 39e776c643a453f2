"""The tutorial's first part: what a mask is, each way to find one, and how to make it final."""

import copy
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

import pruning_engine as prune
from scripts.tutorial.digits import Digits, Images, Layer, LeNet, accuracy, layers, sparsity, train
from scripts.tutorial.effort import Effort

Way: TypeAlias = Callable[[Layer], object]
"""Something to do to each layer."""

CENTER: Final = F.pad(torch.ones(3, 3), (1, 1, 1, 1))
"""Of a kernel of 5 x 5, all but its border."""


def trained(digits: Digits, effort: Effort) -> LeNet:
    """Train LeNet until it reads almost every digit."""
    model = LeNet()
    train(model, digits.train, epochs=effort.epochs)
    for name, parameter in model.named_parameters():
        print(f"{name:12} {parameter.numel():7,}  {list(parameter.shape)}")
    print(f"reads {accuracy(model, digits.validation):.1%} of {len(digits.validation)} digits that it has not seen")
    return model


def look_inside(model: LeNet) -> None:
    """Prune one layer, and see what that leaves: the weight as it was, a mask, and a hook that multiplies them."""
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
    """Prune what is pruned: the second method acts on what the first has left, and a container keeps both."""
    layer = copy.deepcopy(model).conv1
    prune.random_unstructured(layer, "weight", amount=0.3, seed=1)
    print(f"once:  {int(layer.get_buffer('weight_mask').sum())} of {layer.weight.numel()} weights are left")

    prune.ln_structured(layer, "weight", amount=0.5, n=2, dim=0)
    filters = layer.get_buffer("weight_mask").flatten(1).any(1)
    print(f"twice: {int(layer.get_buffer('weight_mask').sum())}, in {int(filters.sum())} of {len(filters)} filters")

    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, prune.PruningContainer):
            print("the hook is a container of", " and ".join(type(method).__name__ for method in hook))
    print("the state_dict holds", ", ".join(layer.state_dict()))


def prune_each_way(model: LeNet, digits: Digits) -> None:
    """Prune half of every layer by each of torch's methods."""
    scores = taylor_scores(model, digits.train)
    ways: dict[str, Way] = {
        "identity": lambda layer: prune.identity(layer, "weight"),
        "random_unstructured": lambda layer: prune.random_unstructured(layer, "weight", 0.5, seed=1),
        "l1_unstructured": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        "... importance_scores": lambda layer: prune.l1_unstructured(layer, "weight", 0.5, scores[layer.weight.shape]),
        "random_structured": lambda layer: prune.random_structured(layer, "weight", 0.5, dim=1, seed=1),
        "ln_structured": lambda layer: prune.ln_structured(layer, "weight", 0.5, n=2, dim=1),
        "custom_from_mask": prune_borders,
    }
    for name, way in ways.items():
        show(name, on_each_layer(model, way), digits)


def taylor_scores(model: LeNet, images: Images) -> Mapping[torch.Size, Tensor]:
    """Score each weight by itself times its gradient, about what the loss gains without it; by the weight's shape.

    Source: Molchanov et al. 2017, arXiv:1611.06440, section 2.2 (Taylor expansion), here for single weights.
    """
    model.zero_grad()
    F.cross_entropy(model(images.pixels), images.labels).backward()  # type: ignore[no-untyped-call]  # torch's
    gradients = {layer: layer.weight.grad for layer in layers(model)}
    return {layer.weight.shape: layer.weight.detach() * grad for layer, grad in gradients.items() if grad is not None}


def prune_borders(layer: Layer) -> None:
    """Prune the border of every kernel, by a mask that is given."""
    if isinstance(layer, nn.Conv2d):
        prune.custom_from_mask(layer, "weight", CENTER.expand_as(layer.weight))


def prune_globally(model: LeNet, digits: Digits) -> None:
    """Prune 90 % of every layer, and then 90 % of all layers together."""
    local = on_each_layer(model, lambda layer: prune.l1_unstructured(layer, "weight", 0.9))
    together = copy.deepcopy(model)
    prune.global_unstructured([(layer, "weight") for layer in layers(together)], prune.L1Unstructured, amount=0.9)
    for name, pruned in {"each layer": local, "all together": together}.items():
        show(name, pruned, digits)
        print("   ", "   ".join(f"{part} {sparsity(layer):.0%}" for part, layer in pruned.named_children()))


class BelowDeviation(prune.BasePruningMethod):
    """Prune what is smaller than a part of the layer's standard deviation.

    Source: Han et al. 2015, arXiv:1506.02626, section 4.
    """

    PRUNING_TYPE = "unstructured"

    def __init__(self, part: float) -> None:
        self.part = part

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Keep of what is left whatever is large enough."""
        return default_mask * (t.abs() >= self.part * t.std())


def prune_my_way(model: LeNet, digits: Digits) -> None:
    """Prune by a method of one's own: it says which weights stay, the rest is as with any other."""
    for part in (0.5, 1.0, 2.0):
        pruned = on_each_layer(model, lambda layer, part=part: BelowDeviation.apply(layer, "weight", part))  # type: ignore[misc]
        show(f"below {part} deviations", pruned, digits)


def make_final(model: LeNet) -> LeNet:
    """Prune 90 % and remove the masks: what is left is a plain model, with zeros in place."""
    pruned = copy.deepcopy(model)
    prune.global_unstructured([(layer, "weight") for layer in layers(pruned)], prune.L1Unstructured, amount=0.9)
    print(f"is_pruned: {prune.is_pruned(pruned)}, {len(pruned.state_dict())} tensors")
    for layer in layers(pruned):
        prune.remove(layer, "weight")
    print(f"is_pruned: {prune.is_pruned(pruned)}, {len(pruned.state_dict())} tensors, {sparsity(pruned):.1%} zeros")
    return pruned


def on_each_layer(model: LeNet, way: Way) -> LeNet:
    """Give a copy of the model whose layers are pruned."""
    pruned = copy.deepcopy(model)
    for layer in layers(pruned):
        way(layer)
    return pruned


def show(name: str, model: nn.Module, digits: Digits) -> None:
    """Print how many weights are zero, and how many digits the model still reads."""
    print(f"{name:24} {sparsity(model):6.1%} zeros, reads {accuracy(model, digits.validation):6.1%}")
