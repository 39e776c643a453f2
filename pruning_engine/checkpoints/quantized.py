"""Quantized weights, recognized by the names, dtypes and shapes of the tensors that hold them.

Such tensors hold codes of a few bits, or values of 4 bits, beside their scales. No entry of them is a weight. FP8
weights are not among them (see scales.py), but for the FNUZ kinds, whose code of NaN is that of -0.0 elsewhere, and
for MXFP8, whose scales are exponents in bytes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from pruning_engine.checkpoints.parameters import TensorDescription
from pruning_proto.names import SCALED

Tensors: TypeAlias = Mapping[str, TensorDescription]


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """A quantized weight: the name of the tensor that has its codes, and the format."""

    tensor: str
    format: str


def find_quantized(tensors: Tensors) -> QuantizedWeight | None:
    """Return the first quantized weight of a checkpoint; None if none is recognized."""
    for name, tensor in tensors.items():
        if tensor.dtype in _DTYPES and len(tensor.shape) >= _LEAST_DIMS:
            return QuantizedWeight(name, _DTYPES[tensor.dtype])
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
    codes = tensors[f"{stem}.weight_packed"]
    scale = tensors.get(f"{stem}.weight_scale")
    if f"{stem}.scale_packed" in tensors:
        return QuantizedWeight(codes.name, "compressed-tensors, marlin-24")
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
    codes, scale = tensors.get(f"{stem}.weight"), tensors.get(f"{stem}.weight_scale")
    if codes is None:
        return None
    if scale is not None and scale.dtype == "U8" and codes.dtype in SCALED:
        return QuantizedWeight(codes.name, "MXFP8")
    if codes.dtype == "U8":
        name = _FOUR_BITS.get(scale.dtype, "codes packed in bytes") if scale is not None else "codes in bytes"
        return QuantizedWeight(codes.name, name)
    return QuantizedWeight(codes.name, "INT8 with scales") if codes.dtype == "I8" else None


def _with_scales(stem: str, tensors: Tensors) -> QuantizedWeight | None:
    """Recognize integers beside scales, which GPTQ calls something else."""
    codes = tensors.get(f"{stem}.weight")
    if codes is None or codes.dtype in _FLOATS | SCALED:
        return None
    return QuantizedWeight(codes.name, "MLX" if codes.dtype == "U32" else "integers with scales")


def _one_of_a_kind(codes: str, scale: str, name: str) -> "_Recognize":
    """Return what recognizes codes and scales of names that only one format has."""

    def recognize(stem: str, tensors: Tensors) -> QuantizedWeight | None:
        return QuantizedWeight(stem + codes, name) if {stem + codes, stem + scale} <= tensors.keys() else None

    return recognize


def _bitsandbytes_state(stem: str, tensors: Tensors) -> QuantizedWeight | None:
    """Recognize codes that are stored as floats, too."""
    codes = stem.removesuffix(".quant_state.")
    return QuantizedWeight(codes, "bitsandbytes, 4 bits") if codes in tensors else None


_LEAST_DIMS: Final = 2

_FOUR_BITS: Final[Mapping[str, str]] = MappingProxyType({"F8_E4M3": "NVFP4", "U8": "MXFP4", "F8_E8M0": "MXFP4"})
"""Formats of 4 bits by the dtype of their scales."""

_DTYPES: Final[Mapping[str, str]] = MappingProxyType(
    {"F4": "FP4", "F6_E2M3": "FP6", "F6_E3M2": "FP6", "F8_E4M3FNUZ": "FP8 FNUZ", "F8_E5M2FNUZ": "FP8 FNUZ"}
)
"""Dtypes that no weight in high precision has, and their formats."""

_FLOATS: Final = frozenset({"F64", "F32", "F16", "BF16"})

_Recognize: TypeAlias = Callable[[str, Tensors], QuantizedWeight | None]

_SIGNS: Final[tuple[tuple[str, _Recognize], ...]] = (
    (".weight_scale", _scaled),
    (".weight_scale_inv", _scaled),
    (".scale_weight", _scaled),
    (".qweight", _gptq_or_awq),
    (".scales", _with_scales),
    (".weight_packed", _compressed_tensors),
    (".absmax", _bitsandbytes),
    (".SCB", _bitsandbytes_8bit),
    ("_blocks", _mx_blocks),
    ("bitsandbytes__nf4", _bitsandbytes_state),
    ("bitsandbytes__fp4", _bitsandbytes_state),
    (".W_q", _one_of_a_kind(".W_q", ".scale", "HQQ")),
    ("._data", _one_of_a_kind("._data", "._scale", "quanto")),
    (".codebooks", _one_of_a_kind(".codes", ".codebooks", "AQLM")),
    (".q_weight", _one_of_a_kind(".q_weight", ".q_scale", "EXL2")),
    (".trellis", _one_of_a_kind(".trellis", ".svh", "EXL3")),
    (".Qidxs", _one_of_a_kind(".Qidxs", ".SV", "QuIP#")),
    (".indices", _one_of_a_kind(".indices", ".centroids.weight", "VPTQ")),
    ("._weight_qdata", _one_of_a_kind("._weight_qdata", "._weight_scale", "torchao")),
)
"""How names of a quantized weight's tensors end -> what recognizes it by the rest of the name."""

_ENDINGS: Final = tuple(ending for ending, _ in _SIGNS)
