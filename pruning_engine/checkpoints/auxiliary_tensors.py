"""Auxiliary tensors: what a caller may send beside a weight `w`, by the suffix of the name.

An open table: to add one, add a row. A score names the suffixes that it uses; all else (grouping, checks of shape and
dtype, memory) follows from the row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Final, TypeAlias

from pruning_engine.dtypes import REAL, REAL_FLOATS, packed_bytes
from pruning_engine.errors import Reason
from pruning_proto.names import (
    CUSTOM_MASK,
    IN_COUNT,
    IN_GRAM,
    IN_NORM,
    IN_SUM,
    IN_SUM2,
    INPUTS,
    MASK_BITS,
    OUT_GRAM,
    SCORES,
    UNIT_SCORES,
)

Shape: TypeAlias = tuple[int, ...]

ShapePattern: TypeAlias = tuple[int | None, ...]
"""Sizes of dims; None: any size from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuxiliaryTensor:
    """One kind of auxiliary tensor.

    `shapes`: the allowed shapes for a weight's shape. `dtypes`: the allowed dtypes, and `dtype_reason` the
    reason for refusing others. `user`: which rules use it. `meaning`: in messages, what it holds. `of_dim`: of an
    auxiliary tensor about the inputs, the shapes for a weight's shape and the dim of its input channels.
    """

    suffix: str
    shapes: Callable[[Shape], tuple[ShapePattern, ...]]
    dtypes: frozenset[str]
    user: str
    meaning: str
    of_dim: Callable[[Shape, int], tuple[ShapePattern, ...]] | None = None
    dtype_reason: Reason = Reason.UNPRUNABLE_DTYPE


def _same_shape(weight: Shape) -> tuple[ShapePattern, ...]:
    return (weight,)


def _packed_shape(weight: Shape) -> tuple[ShapePattern, ...]:
    return ((packed_bytes(prod(weight)),),)


def _one_dim(weight: Shape) -> tuple[ShapePattern, ...]:
    """Return the shapes of a number for each position along a dim; the rule says which dim."""
    return tuple((size,) for size in weight)


def _inputs(weight: Shape, dim: int) -> tuple[tuple[Shape, int], ...]:
    """Return the numbers of inputs of a weight whose input channels are along a dim, each after the sizes before it.

    A matrix has the size of the dim. A weight of more dims may be a convolution, whose inputs are its input channels at
    each kernel position, or one of a stack of experts, which all have inputs of their own.
    """
    if len(weight) == _MATRIX_DIMS:
        return (((), weight[dim]),)
    experts = (((weight[0],), weight[dim]),) if len(weight) == _STACKED_DIMS and dim > 0 else ()
    convolution = (((), prod(weight[1:])),) if dim == 1 and len(weight) > _MATRIX_DIMS else ()
    return convolution + experts


def _input_sums(weight: Shape, dim: int) -> tuple[ShapePattern, ...]:
    channels = ((weight[1],),) if dim == 1 and len(weight) > _MATRIX_DIMS else ()
    return (*channels, *((*before, size) for before, size in _inputs(weight, dim)))


def _gram(weight: Shape, dim: int) -> tuple[ShapePattern, ...]:
    return tuple((*before, size, size) for before, size in _inputs(weight, dim))


def _input_rows(weight: Shape, dim: int) -> tuple[ShapePattern, ...]:
    return tuple((*before, None, size) for before, size in _inputs(weight, dim))


def _output_gram(weight: Shape, dim: int) -> tuple[ShapePattern, ...]:
    """Return the shape for the output channels: dim 0 of a convolution; a stack of experts has none."""
    if len(weight) == _MATRIX_DIMS:
        return ((weight[1 - dim], weight[1 - dim]),)
    return ((weight[0], weight[0]),) if len(weight) > _MATRIX_DIMS and dim == 1 else ()


def _input_norms(weight: Shape, dim: int) -> tuple[ShapePattern, ...]:
    return ((weight[dim],),)


def _along_any(of_dim: Callable[[Shape, int], tuple[ShapePattern, ...]]) -> Callable[[Shape], tuple[ShapePattern, ...]]:
    return lambda weight: tuple(dict.fromkeys(shape for dim in range(len(weight)) for shape in of_dim(weight, dim)))


def _input_count(weight: Shape) -> tuple[ShapePattern, ...]:
    return ((), (1,), (weight[0],)) if len(weight) == _STACKED_DIMS else ((), (1,))


def _any_number(weight: Shape) -> tuple[ShapePattern, ...]:  # noqa: ARG001 - the group says how many units
    return ((None,),)


_MATRIX_DIMS: Final = 2
_STACKED_DIMS: Final = 3
_OF_STATISTICS: Final = "rule that uses these statistics"

AUXILIARY_TENSORS: Final[Mapping[str, AuxiliaryTensor]] = MappingProxyType(
    {
        row.suffix: row
        for row in (
            AuxiliaryTensor(
                suffix=MASK_BITS,
                shapes=_packed_shape,
                dtypes=frozenset({"U8"}),
                user="rule",
                meaning="a prior mask",
                dtype_reason=Reason.SHAPE_MISMATCH,
            ),
            AuxiliaryTensor(
                suffix=CUSTOM_MASK,
                shapes=_same_shape,
                dtypes=REAL,
                user="rule of score custom_mask",
                meaning="the mask that custom_mask applies",
            ),
            AuxiliaryTensor(
                suffix=SCORES,
                shapes=_same_shape,
                dtypes=REAL,
                user="rule of score importance_scores",
                meaning="importance scores",
            ),
            AuxiliaryTensor(
                suffix=IN_NORM,
                shapes=_one_dim,
                of_dim=_input_norms,
                dtypes=REAL,
                user="rule of score weighted_magnitude",
                meaning="one norm per input channel",
            ),
            AuxiliaryTensor(
                suffix=IN_SUM2,
                shapes=_along_any(_input_sums),
                of_dim=_input_sums,
                dtypes=REAL,
                user=_OF_STATISTICS,
                meaning="the sum of x^2 of each input channel",
            ),
            AuxiliaryTensor(
                suffix=IN_SUM,
                shapes=_along_any(_input_sums),
                of_dim=_input_sums,
                dtypes=REAL,
                user=_OF_STATISTICS,
                meaning="the sum of x of each input channel",
            ),
            AuxiliaryTensor(
                suffix=IN_COUNT,
                shapes=_input_count,
                dtypes=REAL,
                user=_OF_STATISTICS,
                meaning="the number of tokens",
            ),
            AuxiliaryTensor(
                suffix=IN_GRAM,
                shapes=_along_any(_gram),
                of_dim=_gram,
                dtypes=frozenset({"F32", "F64"}),
                user=_OF_STATISTICS,
                meaning="the Gram matrix of its inputs",
            ),
            AuxiliaryTensor(
                suffix=INPUTS,
                shapes=_along_any(_input_rows),
                of_dim=_input_rows,
                dtypes=REAL_FLOATS,
                user=_OF_STATISTICS,
                meaning="rows of its inputs",
            ),
            AuxiliaryTensor(
                suffix=OUT_GRAM,
                shapes=_along_any(_output_gram),
                of_dim=_output_gram,
                dtypes=frozenset({"F32", "F64"}),
                user=_OF_STATISTICS,
                meaning="the Gram matrix of the gradients of its outputs",
            ),
            AuxiliaryTensor(
                suffix=UNIT_SCORES,
                shapes=_any_number,
                dtypes=REAL,
                user="rule of score unit_scores",
                meaning="one number per unit",
            ),
        )
    }
)
"""Every auxiliary tensor by its suffix, in the order in which a parameter lists them."""


def fits(shape: Shape, pattern: ShapePattern) -> bool:
    """Return whether a shape is one that a pattern describes."""
    return len(shape) == len(pattern) and all(
        size == wanted or (wanted is None and size > 0) for size, wanted in zip(shape, pattern, strict=True)
    )


def fitting_input_dims(suffix: str, auxiliary: Shape, weight: Shape) -> frozenset[int]:
    """Return the dims along which a weight has the input channels that an auxiliary tensor is about, by its shape."""
    of_dim = AUXILIARY_TENSORS[suffix].of_dim
    if of_dim is None:
        return frozenset()
    dims = range(len(weight))
    return frozenset(dim for dim in dims if any(fits(auxiliary, shape) for shape in of_dim(weight, dim)))


def described(patterns: Sequence[ShapePattern]) -> str:
    """Return patterns in words: `[64] or [T, 64] with any T from 1`."""
    shapes = [f"[{', '.join('T' if size is None else str(size) for size in each)}]" for each in dict.fromkeys(patterns)]
    any_size = " with any T from 1" if any(None in each for each in patterns) else ""
    return f"{' or '.join(shapes)}{any_size}"


def auxiliary_suffix(name: str) -> str | None:
    """Return the suffix that makes `name` an auxiliary tensor, or None. `kernel:0` is an ordinary name."""
    suffix = name[name.rfind(":") :] if ":" in name else ""
    return suffix if suffix in AUXILIARY_TENSORS and suffix != name else None
