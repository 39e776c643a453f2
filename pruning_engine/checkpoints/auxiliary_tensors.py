"""Auxiliary tensors: what a caller may send beside a weight `w`, by the suffix of the name.

An open table: to add one, add a row. A score names the suffixes that it uses; all else (grouping, checks of shape and
dtype, memory) follows from the row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Final, TypeAlias

from pruning_engine.dtypes import REAL, packed_bytes
from pruning_engine.errors import Reason
from pruning_proto.names import CUSTOM_MASK, IN_NORM, MASK_BITS, SCORES

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuxiliaryTensor:
    """One kind of auxiliary tensor.

    `shapes`: the allowed shapes for a weight's shape. `dtypes`: the allowed dtypes, and `dtype_reason` the
    reason for refusing others. `user`: which rules use it.
    """

    suffix: str
    shapes: Callable[[Shape], tuple[Shape, ...]]
    dtypes: frozenset[str]
    user: str
    dtype_reason: Reason = Reason.UNPRUNABLE_DTYPE


def _same_shape(weight: Shape) -> tuple[Shape, ...]:
    return (weight,)


def _packed_shape(weight: Shape) -> tuple[Shape, ...]:
    return ((packed_bytes(prod(weight)),),)


def _one_dim(weight: Shape) -> tuple[Shape, ...]:
    """Return the shapes of a number for each position along a dim; the rule says which dim."""
    return tuple((size,) for size in weight)


AUXILIARY_TENSORS: Final[Mapping[str, AuxiliaryTensor]] = MappingProxyType(
    {
        row.suffix: row
        for row in (
            AuxiliaryTensor(
                suffix=MASK_BITS,
                shapes=_packed_shape,
                dtypes=frozenset({"U8"}),
                user="rule",
                dtype_reason=Reason.SHAPE_MISMATCH,
            ),
            AuxiliaryTensor(suffix=CUSTOM_MASK, shapes=_same_shape, dtypes=REAL, user="rule of score custom_mask"),
            AuxiliaryTensor(suffix=SCORES, shapes=_same_shape, dtypes=REAL, user="rule of score importance_scores"),
            AuxiliaryTensor(suffix=IN_NORM, shapes=_one_dim, dtypes=REAL, user="rule of score weighted_magnitude"),
        )
    }
)
"""Every auxiliary tensor by its suffix, in the order in which a parameter lists them."""


def auxiliary_suffix(name: str) -> str | None:
    """Return the suffix that makes `name` an auxiliary tensor, or None. `kernel:0` is an ordinary name."""
    suffix = name[name.rfind(":") :] if ":" in name else ""
    return suffix if suffix in AUXILIARY_TENSORS and suffix != name else None
