"""Scales of FP8 weights: the tensors by which their codes are multiplied, found by names and dtypes.

Such a weight is worth code times scale. A scale is part of its weight's parameter: it arrives with it, is never pruned
itself, and leaves as it came, because a zero needs no scale.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Protocol, TypeVar

from pruning_proto.names import SCALED, scale_names

SCALE_DTYPES: Final = frozenset({"F32", "F16", "BF16", "F8_E8M0"})
"""Dtypes of scales whose product with every FP8 number is exact in fp64."""

_RECOGNIZED: Final = SCALE_DTYPES | {"F64"}
"""Dtypes of tensors that are taken for scales."""


class _Described(Protocol):
    """What is known of a tensor here."""

    @property
    def dtype(self) -> str:
        """The safetensors name of its dtype."""
        ...


_Tensor = TypeVar("_Tensor", bound=_Described)


def find_scales(
    tensors: Mapping[str, _Tensor], weights: Mapping[str, _Described], other_names: Mapping[str, Iterable[str]]
) -> dict[str, tuple[_Tensor, ...]]:
    """Return the scales of each FP8 parameter that has some; more than one is for the caller to refuse.

    `weights`: by the parameters' names. `other_names`: of tied ones; they count where no scale has a parameter's own.
    """
    found = {}
    for parameter, weight in weights.items():
        if weight.dtype in SCALED:
            for name in (parameter, *other_names.get(parameter, ())):
                scales = tuple(tensors[scale] for scale in scale_names(name) if _is_scale(tensors.get(scale)))
                if scales:
                    found[parameter] = scales
                    break
    return found


def _is_scale(tensor: _Described | None) -> bool:
    return tensor is not None and tensor.dtype in _RECOGNIZED
