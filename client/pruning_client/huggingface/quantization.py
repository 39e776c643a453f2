"""Quantized models, by `quantization_config` of their config.json; FP8 models are not refused.

The server recognizes most of them by the names of their tensors, too; this finds the others before anything is sent.
FP8 weights are ranked by code times scale. Which scale a weight has follows from shapes if blocks are powers of two.
"""

from collections.abc import Mapping
from typing import Any, Final

from pruning_client.errors import MismatchError
from pruning_client.huggingface.experts.counts import EXPERT_MAPS
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

_FIELD: Final = "quantization_config"

_BLOCKS: Final = "weight_block_size"

_METHODS: Final = frozenset(
    {
        *("gptq", "awq", "bitsandbytes", "hqq", "quanto", "aqlm", "eetq", "higgs", "vptq", "spqr", "mxfp4"),
        *("auto-round", "intel/auto-round", "bitnet", "torchao", "fp_quant", "exl2", "exl3"),
    }
)
"""Values of `quant_method` whose weights are codes."""

_PACKED: Final = frozenset(
    {"pack-quantized", "int-quantized", "nvfp4-pack-quantized", "mxfp4-pack-quantized", "marlin-24"}
)
"""Values of `format` of compressed-tensors whose weights are codes."""

_WITHOUT_WEIGHTS: Final = frozenset({"listed", "unit_scores", "router_magnitude", "random"})
"""Scores that do not read the weights of experts."""


def check_not_quantized(config: Mapping[str, Any], recipe: pb.Recipe) -> None:
    """Refuse rules by patterns or default targets for a quantized model. Raises: MismatchError.

    Whole experts that are listed, or ranked by what is sent or by their router, may be removed: codes stay as they are.
    """
    name = _quantization(config.get(_FIELD))
    if name is None or all(_names_tensors(rule) or _takes_whole_experts(rule) for rule in recipe.rules):
        return
    raise MismatchError(
        f"by its config.json ({_FIELD}) the model is quantized ({name}): its tensors hold codes, not weights; prune "
        "the model before it is quantized, and quantize the result. To prune tensors of high precision alone, include "
        "them by their full names",
        reason=Reason.UNPRUNABLE_DTYPE,
        metadata={"field": _FIELD},
    )


def check_blocks(config: Mapping[str, Any]) -> None:
    """Refuse FP8 blocks of sizes that the shapes of their scales do not tell. Raises: MismatchError."""
    fields = config.get(_FIELD)
    blocks = fields.get(_BLOCKS) if isinstance(fields, dict) else None
    sizes = [size for size in blocks if isinstance(size, int)] if isinstance(blocks, list) else []
    if any(size < 1 or size & (size - 1) for size in sizes):
        raise MismatchError(
            f"config.json says {_FIELD}.{_BLOCKS} = {blocks}; FP8 weights are pruned with scales of blocks whose sizes "
            "are powers of two, such as [128, 128]. Prune the model before it is quantized, and quantize the result",
            reason=Reason.SHAPE_MISMATCH,
            metadata={"field": f"{_FIELD}.{_BLOCKS}"},
        )


def _quantization(fields: object) -> str | None:
    if not isinstance(fields, dict):
        return None
    method, layout = fields.get("quant_method"), fields.get("format")
    if method == "compressed-tensors":
        return f"{method}, {layout}" if layout in _PACKED else None
    if method == "modelopt":
        algorithm = str(fields.get("quant_algo"))
        return None if algorithm.upper() == "FP8" else f"{method}, {algorithm}"
    if fields.get("load_in_4bit") or fields.get("load_in_8bit"):
        return "bitsandbytes"
    return method if method in _METHODS else None


def _takes_whole_experts(rule: pb.Rule) -> bool:
    """Whether a rule removes whole experts, and none of their weights is read for it."""
    is_ranked_without = rule.score.WhichOneof("kind") in _WITHOUT_WEIGHTS
    return rule.granularity.units.map in EXPERT_MAPS and is_ranked_without and not rule.granularity.units.groups


def _names_tensors(rule: pb.Rule) -> bool:
    """Whether a rule names all its tensors in full."""
    include = rule.select.include
    is_pattern = any(name.startswith("re:") or set(name) & set("*?[") for name in include)
    return bool(include) and not is_pattern and not rule.granularity.HasField("units")
