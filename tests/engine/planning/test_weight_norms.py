"""Weight-normed layers: channels of zeros, which torch computes as 0 / 0, are refused."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import (
    ChannelGroup,
    Channels,
    ChannelSlice,
    Entries,
    Fraction,
    Granularity,
    Magnitude,
    OutputForm,
    Recipe,
    Rule,
    Units,
)

V, G = "conv.weight_v", "conv.weight_g"
NEW_V, NEW_G = "conv.parametrizations.weight.original1", "conv.parametrizations.weight.original0"
UNITS = Units(groups=(ChannelGroup(ties=(ChannelSlice(V), ChannelSlice(G))),))


def plan(
    granularity: Granularity,
    lengths: tuple[int, ...],
    output: OutputForm = OutputForm.PRUNED,
    names: tuple[str, str] = (V, G),
) -> None:
    rule = Rule(score=Magnitude(), amount=Fraction(0.5), granularity=granularity)
    shapes = dict(zip(names, ((4, 8, 3), lengths), strict=True))
    make_plan(Recipe((rule,)), [TensorSpec(name, "F32", shape) for name, shape in shapes.items()], output=output)


def test_channel_of_zeros_is_nan_in_torch() -> None:
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    with torch.no_grad():
        layer.parametrizations.weight.original1[0] = 0
    assert layer.weight.isnan().any(dim=1).tolist() == [True, False]


@pytest.mark.parametrize("dim", [0, -3])
@pytest.mark.parametrize("names", [(V, G), (NEW_V, NEW_G)], ids=["hooks", "parametrizations"])
def test_channels_with_a_length_each_are_refused(dim: int, names: tuple[str, str]) -> None:
    with pytest.raises(MismatchError, match=r"each of them has a length in .* NaN; exclude it") as caught:
        plan(Channels(dim=dim), (4, 1, 1), names=names)
    assert (caught.value.reason, caught.value.tensor) == (Reason.DIM_OUT_OF_RANGE, names[0])


def test_units_that_become_zeros_are_refused() -> None:
    with pytest.raises(MismatchError, match="ask for output format REMOVED"):
        plan(UNITS, (4, 1, 1))
    plan(UNITS, (4, 1, 1), OutputForm.REMOVED)


@pytest.mark.parametrize(
    ("granularity", "lengths"),
    [
        pytest.param(Channels(dim=1), (4, 1, 1), id="another dim"),
        pytest.param(Channels(), (1, 1, 3), id="lengths of kernel positions"),
        pytest.param(Channels(), (1, 1, 1), id="one length"),
        pytest.param(Entries(), (4, 1, 1), id="single weights"),
    ],
)
def test_zeros_of_parts_are_allowed(granularity: Granularity, lengths: tuple[int, ...]) -> None:
    plan(granularity, lengths)
