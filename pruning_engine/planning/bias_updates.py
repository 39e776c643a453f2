"""Which biases a rule's update changes: `NAME.bias` of a selected `NAME.weight`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from pruning_engine.checkpoints.parameters import Parameters
from pruning_engine.dtypes import FLOATING
from pruning_engine.recipe import Recipe

_WEIGHT: Final = "weight"
_BIAS: Final = "bias"


@dataclass(frozen=True, slots=True)
class BiasOf:
    """A parameter and the bias of its layer, by name."""

    weight: str
    bias: str


Biases: TypeAlias = Mapping[int, Sequence[BiasOf]]
"""The biases that each rule changes, by the position of the rule in the recipe."""


def find_biases(recipe: Recipe, parameters: Parameters, selected: Sequence[tuple[int, ...]]) -> Biases:
    """Return the biases of the selected weights, for rules whose update changes biases. Layers may have none."""
    found: dict[int, list[BiasOf]] = {
        position: []
        for position, rule in enumerate(recipe.rules)
        if rule.update is not None and rule.update.changes_biases
    }
    if not found:
        return {}
    for name, rules in zip(parameters.weights, selected, strict=True):
        bias = _bias_of(name, parameters)
        for position in rules if bias is not None else ():
            if position in found and bias is not None:
                found[position].append(BiasOf(name, bias))
    return found


def _bias_of(name: str, parameters: Parameters) -> str | None:
    module, dot, own = name.rpartition(".")
    bias = f"{module}{dot}{_BIAS}"
    if own != _WEIGHT or bias not in parameters.weights:
        return None
    spec = parameters.weights[bias]
    return bias if len(spec.shape) == 1 and spec.dtype in FLOATING else None
