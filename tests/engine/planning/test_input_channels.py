"""Warnings about channels along dim 0 that are not a layer's outputs."""

import re

import pytest

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import Channels, Entries, Fraction, Granularity, Magnitude, Recipe, Rule, Selector
from pruning_engine.report import ModelWarning, WarningKind

GPT2 = {
    "h.0.attn.c_attn.weight": (4, 12),
    "h.0.attn.c_attn.bias": (12,),
    "h.0.attn.c_proj.weight": (4, 4),
    "h.0.attn.c_proj.bias": (4,),
    "h.0.mlp.c_proj.weight": (16, 4),
    "h.0.mlp.c_proj.bias": (4,),
}
STARCODER2 = {"mlp.c_proj.weight": (4, 16), "mlp.c_proj.bias": (4,)}
SQUARE = {"out.weight": (4, 4), "out.bias": (4,)}
CONVOLUTION = {"conv.weight": (8, 4, 3, 3), "conv.bias": (8,)}
TRANSPOSED_CONVOLUTION = {"up.weight": (8, 4, 3, 3), "up.bias": (4,)}
EXPERTS = {"mlp.experts.gate_up_proj": (4, 8, 16), "mlp.experts.down_proj": (4, 8, 8)}
KERNEL_OF_EXPERTS = {"experts.conv.weight": (4, 8, 3)}


def warnings(
    shapes: dict[str, tuple[int, ...]],
    granularity: Granularity = Channels(),  # noqa: B008 - frozen
    include: tuple[str, ...] = (),
) -> tuple[ModelWarning, ...]:
    rule = Rule(score=Magnitude(), amount=Fraction(0.5), granularity=granularity, select=Selector(include=include))
    return make_plan(Recipe((rule,)), [TensorSpec(name, "F32", shape) for name, shape in shapes.items()]).warnings


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        pytest.param(GPT2, r"'h.0.attn.c_attn.weight' of shape \[4, 12\] is stored as .* are 2 more", id="Conv1D"),
        pytest.param(TRANSPOSED_CONVOLUTION, r"'up.weight' .* outputs are along dim 1; .*--dim 1", id="ConvTranspose"),
        pytest.param(EXPERTS, "gate_up_proj' .* dim 0 counts experts, .* is 1 more", id="experts"),
    ],
)
def test_dim_0_that_is_not_the_output_is_told(shapes: dict[str, tuple[int, ...]], told: str) -> None:
    (warning,) = warnings(shapes)
    assert warning.kind is WarningKind.INPUT_CHANNELS
    assert warning.tensor == next(iter(shapes))
    assert re.search(told, warning.message)


def test_square_weight_is_stored_as_others_of_its_name() -> None:
    (warning,) = warnings(GPT2, include=("h.0.attn.c_proj.weight",))
    assert warning.tensor == "h.0.attn.c_proj.weight"


@pytest.mark.parametrize("dim", [0, -2])
def test_dim_from_the_end_is_told(dim: int) -> None:
    assert len(warnings(GPT2, Channels(dim=dim))) == 1


@pytest.mark.parametrize(
    ("shapes", "granularity"),
    [
        pytest.param(STARCODER2, Channels(), id="Linear of the same name"),
        pytest.param(SQUARE, Channels(), id="square"),
        pytest.param(CONVOLUTION, Channels(), id="convolution"),
        pytest.param(KERNEL_OF_EXPERTS, Channels(), id="convolution of experts"),
        pytest.param(GPT2, Channels(dim=1), id="outputs"),
        pytest.param(GPT2, Entries(), id="single weights"),
        pytest.param(EXPERTS, Channels(dim=2), id="another dim of experts"),
    ],
)
def test_outputs_are_pruned_without_a_word(shapes: dict[str, tuple[int, ...]], granularity: Granularity) -> None:
    assert warnings(shapes, granularity) == ()
