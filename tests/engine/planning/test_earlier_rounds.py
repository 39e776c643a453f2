"""Which parameters the recipes of earlier rounds pruned."""

import pytest

from pruning_engine.checkpoints.parameters import TensorSpec, find_parameters
from pruning_engine.planning.earlier_rounds import pruned_earlier
from pruning_engine.recipe import (
    ChannelGroup,
    ChannelSlice,
    CustomMask,
    Fraction,
    Identity,
    Magnitude,
    Recipe,
    Rule,
    Selector,
    Units,
)

TENSORS = [
    TensorSpec("fc1.weight", "F32", (4, 2)),
    TensorSpec("fc1.bias", "F32", (4,)),
    TensorSpec("fc2.weight", "F32", (2, 4)),
    TensorSpec("fc3.weight_orig", "F32", (2, 2)),
    TensorSpec("fc3.weight_mask", "BOOL", (2, 2)),
    TensorSpec("fc4.weight", "F32", (2, 4)),
    TensorSpec("fc4.weight:mask_bits", "U8", (1,)),
    TensorSpec("steps", "BOOL", (1,)),
]


def l1(*include: str, exclude: tuple[str, ...] = ()) -> Rule:
    return Rule(score=Magnitude(), amount=Fraction(0.5), select=Selector(include, exclude))


def earlier(*rules: Rule) -> set[str]:
    return set(pruned_earlier([Recipe((rule,)) for rule in rules], find_parameters(TENSORS, {})))


GONE = ChannelGroup(ties=(ChannelSlice("gone"),))
MLP = ChannelGroup(ties=(ChannelSlice("fc1.weight"), ChannelSlice("fc1.bias"), ChannelSlice("fc2.weight", 1)))


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        pytest.param([], set(), id="no round"),
        pytest.param([l1()], {"fc1.weight", "fc2.weight"}, id="default targets, not those with masks"),
        pytest.param([l1("fc1.bias"), l1("fc2.*")], {"fc1.bias", "fc2.weight"}, id="two rounds"),
        pytest.param([l1("*.weight", exclude=("fc1.*",))], {"fc2.weight"}, id="exclude"),
        pytest.param(
            [Rule(score=CustomMask(), select=Selector(("re:fc[12].+",)))], {"fc1.weight", "fc2.weight"}, id="RE2"
        ),
        pytest.param([Rule(score=Identity())], set(), id="identity prunes nothing"),
        pytest.param([l1("gone.weight")], set(), id="tensor that is gone"),
        pytest.param([l1("steps"), l1("fc1.weight")], {"fc1.weight"}, id="dtype that no rule prunes"),
        pytest.param(
            [Rule(score=Magnitude(), amount=Fraction(0.5), granularity=Units(groups=(MLP,)))],
            {"fc1.weight", "fc1.bias", "fc2.weight"},
            id="coupled channels",
        ),
        pytest.param(
            [Rule(score=Magnitude(), amount=Fraction(0.5), granularity=Units(groups=(GONE,)))],
            set(),
            id="tie that is gone",
        ),
    ],
)
def test_history_names_what_was_pruned(rules: list[Rule], names: set[str]) -> None:
    assert earlier(*rules) == names
