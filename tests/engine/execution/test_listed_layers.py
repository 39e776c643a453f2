"""Layers that the caller lists, of a model with several stacks of them."""

import pytest
import torch

from pruning_engine import MismatchError
from pruning_engine.recipe import ListedUnits, UnitList
from tests.engine.tied import Tensors, prune_with, units


def stack(prefix: str, layers: int) -> Tensors:
    """Return layers of two matrices and a norm."""
    shapes = {"q.weight": (4, 4), "o.weight": (4, 4), "norm.weight": (4,)}
    return {f"{prefix}.{at}.{name}": torch.ones(shape) for at in range(layers) for name, shape in shapes.items()}


BOTH = stack("vision.layers", 2) | stack("model.layers", 3)


def names_without(listed: ListedUnits, tensors: Tensors = BOTH) -> list[str]:
    """Return the names of the norms that are left."""
    left = prune_with(tensors, units(map="layers", amount=None, score=listed), output="removed").state_dict
    return [name.removesuffix(".norm.weight") for name in left if "norm" in name]


def test_layers_without_a_stack_are_refused_where_there_are_several() -> None:
    says = r"2 stacks of layers: 'model.layers' \(3 layers\), 'vision.layers' \(2 layers\); name the ones"
    with pytest.raises(MismatchError, match=says):
        names_without(ListedUnits(UnitList(pruned=(1,))))


def test_layers_of_a_named_stack_are_removed() -> None:
    listed = ListedUnits(groups={"model.layers": UnitList(pruned=(1,))})
    assert names_without(listed) == ["vision.layers.0", "vision.layers.1", "model.layers.0", "model.layers.1"]


def test_a_single_stack_needs_no_name() -> None:
    assert names_without(ListedUnits(UnitList(pruned=(0,))), stack("h", 2)) == ["h.0"]
