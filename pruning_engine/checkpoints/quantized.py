"""Quantized weights, recognized by the names, dtypes and shapes of the tensors that hold them.

Such tensors hold codes of a few bits, or values of 4 bits, beside their scales. No entry of them is a weight. FP8
weights are not among them: each entry is one weight, with or without a scale.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from pruning_engine.checkpoints.parameters import TensorDescription

Tensors: TypeAlias = Mapping[str, TensorDescription]


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """A quantized weight: the name of the tensor that has its codes, and the format."""

    tensor: str
    format: str


def find_quantized(tensors: Tensors) -> QuantizedWeight | None:
    """Return the first quantized weight of a checkpoint; None if none is recognized."""
    for name in tensors:
        if name.endswith(_ENDINGS):
            ending, recognize = next(sign for sign in _SIGNS if name.endswith(sign[0]))
            found = recognize(name.removesuffix(ending), tensors)
            if found is not None:
                return found
    return None


def _gptq_or_awq(stem: str, tensors: Tensors) -> QuantizedWeight | None:
    codes, scales = tensors[f"{stem}.qweight"], tensors.get(f"{stem}.scales")
    if codes.dtype != "I32" or scales is None:
        return None
    is_gptq = f"{stem}.g_idx" in tensors or codes.shape[-1:] == scales.shape[-1:]  # AWQ packs along the outputs
    return QuantizedWeight(codes.name, "GPTQ" if is_gptq else "AWQ")


def _compressed_tensors(stem: str, tensors: Tensors) -> QuantizedWeight | None:
    codes, scale = tensors[f"{stem}.weight_packed"], tensors.get(f"{stem}.weight_scale")
    if scale is None:
        return None
    if codes.dtype == "U8":
        is_nvfp4 = f"{stem}.weight_global_scale" in tensors
        return QuantizedWeight(codes.name, f"compressed-tensors, {'NVFP4' if is_nvfp4 else 'MXFP4'}")
    return QuantizedWeight(codes.name, "compressed-tensors, pack-quantized")


def _bitsandbytes(stem: str, tensors: Tensors) -> QuantizedWeight | None:
    codes = tensors.get(stem)
    return None if codes is None or codes.dtype in _FLOATS else QuantizedWeight(codes.name, "bitsandbytes, 4 bits")


def _bitsandbytes_8bit(stem: str, tensors: Tensors) -> QuantizedWeight | None:
    codes = tensors.get(f"{stem}.weight")
    return QuantizedWeight(codes.name, "bitsandbytes, 8 bits") if codes is not None and codes.dtype == "I8" else None


def _mx_blocks(stem: str, tensors: Tensors) -> QuantizedWeight | None:
    codes, scales = tensors[f"{stem}_blocks"], tensors.get(f"{stem}_scales")
    if scales is None or codes.dtype != "U8" or scales.dtype not in {"U8", "F8_E8M0"}:
        return None
    return QuantizedWeight(codes.name, "MXFP4 blocks")


def _scaled(stem: str, tensors: Tensors) -> QuantizedWeight | None:
    codes, scale = tensors.get(f"{stem}.weight"), tensors[f"{stem}.weight_scale"]
    if codes is None:
        return None
    if codes.dtype in {"U8", "F4"}:
        return QuantizedWeight(codes.name, "NVFP4" if scale.dtype == "F8_E4M3" else "MXFP4")
    return QuantizedWeight(codes.name, "INT8 with scales") if codes.dtype == "I8" else None


_FLOATS: Final = frozenset({"F64", "F32", "F16", "BF16"})

_SIGNS: Final[tuple[tuple[str, Callable[[str, Tensors], QuantizedWeight | None]], ...]] = (
    (".weight_scale", _scaled),  # first: FP8 models have as many of these as weights
    (".qweight", _gptq_or_awq),
    (".weight_packed", _compressed_tensors),
    (".absmax", _bitsandbytes),
    (".SCB", _bitsandbytes_8bit),
    ("_blocks", _mx_blocks),
)
"""How names of a quantized weight's tensors end -> what recognizes it by the rest of the name."""

_ENDINGS: Final = tuple(ending for ending, _ in _SIGNS)
