"""Quantized checkpoints are recognized and refused by name, and so is a rule for what they have in high precision."""

from collections.abc import Mapping

import pytest

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import Fraction, Magnitude, Recipe, Rule, Selector

Parts = Mapping[str, tuple[str, tuple[int, ...]]]

N = "layers.0.up_proj"
HEAD = TensorSpec("router.weight", "BF16", (4, 4))
QUANTIZED: dict[str, Parts] = {
    "GPTQ": {"qweight": ("I32", (2, 32)), "qzeros": ("I32", (1, 4)), "scales": ("F16", (1, 32))},
    "AWQ": {"qweight": ("I32", (16, 4)), "qzeros": ("I32", (1, 4)), "scales": ("F16", (1, 32))},
    "compressed-tensors, pack-quantized": {"weight_packed": ("I32", (32, 2)), "weight_scale": ("F32", (32, 1))},
    "compressed-tensors, NVFP4": {
        "weight_packed": ("U8", (32, 8)), "weight_scale": ("F8_E4M3", (32, 1)), "weight_global_scale": ("F32", (1,)),
    },
    "bitsandbytes, 4 bits": {"weight": ("U8", (256, 1)), "weight.absmax": ("F32", (8,))},
    "bitsandbytes, 8 bits": {"weight": ("I8", (16, 16)), "SCB": ("F32", (16,))},
    "bitsandbytes, 4 bits, stored as floats": {
        "weight": ("BF16", (128, 1)), "weight.absmax": ("F32", (8,)),
        "weight.quant_state.bitsandbytes__nf4": ("U8", (80,)),
    },
    "compressed-tensors, marlin-24": {"weight_packed": ("I32", (8, 4)), "scale_packed": ("F16", (1, 32))},
    "NVFP4": {"weight": ("U8", (16, 8)), "weight_scale": ("F8_E4M3", (16, 1)), "weight_scale_2": ("F32", ())},
    "MXFP4": {"weight": ("U8", (16, 16)), "weight_scale": ("U8", (16, 1))},
    "MXFP8": {"weight": ("F8_E4M3", (16, 32)), "weight_scale": ("U8", (16, 1))},
    "FP4": {"weight": ("F4", (16, 16))},
    "FP8 FNUZ": {"weight": ("F8_E4M3FNUZ", (16, 16)), "weight_scale": ("F32", (1,))},
    "HQQ": {"W_q": ("U8", (8, 16)), "scale": ("F16", (16, 1)), "zero": ("F16", (16, 1))},
    "quanto": {"weight._data": ("I8", (16, 16)), "weight._scale": ("F32", (16, 1))},
    "AQLM": {"codes": ("I8", (4, 4, 1)), "codebooks": ("F16", (1, 16, 1, 8)), "scales": ("F16", (4, 1, 1, 1))},
    "MLX": {"weight": ("U32", (16, 2)), "scales": ("F16", (16, 1)), "biases": ("F16", (16, 1))},
    "integers with scales": {"weight": ("I8", (16, 16)), "scales": ("F16", (16, 1))},
    "EXL2": {"q_weight": ("I32", (4, 16)), "q_scale": ("I32", (1, 2)), "q_scale_max": ("F16", (1,))},
    "EXL3": {"trellis": ("I16", (1, 1, 48)), "suh": ("F16", (16,)), "svh": ("F16", (16,))},
    "QuIP#": {"Qidxs": ("I64", (16, 2)), "SU": ("F16", (16,)), "SV": ("F16", (16,))},
    "VPTQ": {"indices": ("I32", (1, 16, 2)), "centroids.weight": ("F16", (1, 64))},
    "torchao": {"_weight_qdata": ("I8", (16, 16)), "_weight_scale": ("F32", (16, 1))},
    "INT8 with scales": {"weight": ("I8", (16, 16)), "weight_scale": ("F32", (16, 1))},
}  # fmt: skip
HIGH_PRECISION: dict[str, Parts] = {
    "FP8 with scales": {"weight": ("F8_E4M3", (16, 16)), "weight_scale": ("F32", (16, 1))},
    "FP8 with scales of blocks": {"weight": ("F8_E4M3", (16, 16)), "weight_scale_inv": ("F32", (1, 1))},
    "scales of floats": {"weight": ("F32", (16, 16)), "scales": ("F32", (16,))},
    "no scales": {"weight": ("F32", (16, 16)), "qweight": ("I32", (2, 2))},
    "blocks by name only": {"weight_blocks": ("F32", (16, 16))},
}


def tensors(parts: Parts) -> list[TensorSpec]:
    return [*(TensorSpec(f"{N}.{part}", dtype, shape) for part, (dtype, shape) in parts.items()), HEAD]


def recipe(*include: str) -> Recipe:
    return Recipe((Rule(score=Magnitude(), amount=Fraction(0.5), select=Selector(include=include)),))


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("include", [(), ("*router*",)], ids=["default targets", "a pattern"])
def test_quantized_checkpoint_is_refused_by_name(name: str, include: tuple[str, ...]) -> None:
    with pytest.raises(MismatchError, match="is quantized") as caught:
        make_plan(recipe(*include), tensors(QUANTIZED[name]))
    assert f"({name.removesuffix(', stored as floats')})" in str(caught.value)
    assert caught.value.reason == Reason.UNPRUNABLE_DTYPE


def test_blocks_of_fused_experts_are_refused() -> None:
    experts = [
        TensorSpec("experts.up_proj_blocks", "U8", (2, 8, 1, 16)),
        TensorSpec("experts.up_proj_scales", "U8", (2, 8, 1)),
    ]
    with pytest.raises(MismatchError, match="MXFP4 blocks"):
        make_plan(recipe(), [*experts, HEAD])


def test_tensor_named_in_full_is_pruned_all_the_same() -> None:
    plan = make_plan(recipe("router.weight"), tensors(QUANTIZED["GPTQ"]))
    assert [parameter.name for parameter in plan.parameters if parameter.rules] == ["router.weight"]


@pytest.mark.parametrize("name", HIGH_PRECISION)
def test_weights_that_are_no_codes_are_not_refused(name: str) -> None:
    assert make_plan(recipe("*router*"), tensors(HIGH_PRECISION[name]))
