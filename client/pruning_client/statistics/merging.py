"""Statistics of several sets of batches as those of all of them. Needs numpy."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pruning_client.errors import MismatchError
from pruning_client.statistics.names import weight_of
from pruning_client.statistics.tensor import StatisticsTensor
from pruning_proto.names import INPUTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pruning_client.statistics.value import StatisticsValue

_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8"}


def merged(several: "Sequence[StatisticsValue]") -> dict[str, Any]:
    """Return the fields of the statistics of all together; a tensor is computed when it is read.

    Raises: as `Statistics.merge`.
    """
    first = several[0]
    for other in several[1:]:
        _check_same(first, other)
    tensors = {name: _merged(name, [one.tensors[name] for one in several]) for name in first.tensors}
    tokens = {name: sum(one.tokens.get(name, 0) for one in several) for name in first.tokens}
    shared = ("kind", "aliases", "input_dims", "module_names", "skipped", "unmapped", "model_type")
    return {"tensors": tensors, "tokens": tokens, **{name: getattr(first, name) for name in shared}}


def _check_same(one: "StatisticsValue", other: "StatisticsValue") -> None:
    if one.kind != other.kind:
        raise MismatchError(f"statistics of different kinds cannot be merged: {one.kind!r} and {other.kind!r}")
    if one.model_type != other.model_type:
        raise MismatchError(
            f"statistics of different models cannot be merged: {one.model_type!r} and {other.model_type!r}"
        )
    for left, right in ((one, other), (other, one)):
        only = sorted({*left.tensors, *left.aliases} - {*right.tensors, *right.aliases})
        if only:
            raise MismatchError(
                f"statistics of different models cannot be merged: only one of them has {only[0]!r}",
                metadata={"tensor": only[0]},
            )
    for name in (*one.aliases, *other.aliases):
        if one.aliases.get(name) != other.aliases.get(name):
            shared = one.aliases.get(name) or other.aliases.get(name)
            raise MismatchError(
                f"statistics cannot be merged: {name!r} is shared with {shared!r} in one of them only",
                metadata={"tensor": name},
            )
    for name, tensor in one.tensors.items():
        _check_same_shape(name, tensor, other.tensors[name])


def _check_same_shape(name: str, one: StatisticsTensor, other: StatisticsTensor) -> None:
    shapes = [tensor.shape[-1:] if name.endswith(INPUTS) else tensor.shape for tensor in (one, other)]
    if shapes[0] != shapes[1] or one.dtype != other.dtype:
        raise MismatchError(
            f"statistics of different models cannot be merged: {weight_of(name)!r} has {name!r} as {one.dtype} of "
            f"shape {list(one.shape)} and {other.dtype} of shape {list(other.shape)}",
            metadata={"tensor": name},
        )


def _merged(name: str, tensors: Sequence[StatisticsTensor]) -> StatisticsTensor:
    one = tensors[0]
    if name.endswith(INPUTS):
        rows = sum(tensor.shape[0] for tensor in tensors)
        return StatisticsTensor(one.dtype, (rows, *one.shape[1:]), partial(_chained, tensors))
    if one.dtype not in _DTYPES:
        raise MismatchError(f"{name!r} has dtype {one.dtype}, which cannot be added; known: {', '.join(_DTYPES)}")
    return StatisticsTensor(one.dtype, one.shape, partial(_added, tensors))


def _chained(tensors: Sequence[StatisticsTensor]) -> Iterator[memoryview]:
    for tensor in tensors:
        yield from tensor.pieces()


def _added(tensors: Sequence[StatisticsTensor]) -> Iterator[memoryview]:
    """Return the sum, computed in fp64 (integers in int64) and rounded once."""
    dtype = np.dtype(_DTYPES[tensors[0].dtype])
    total: NDArray[np.generic] = np.zeros((), np.int64 if dtype.kind == "i" else np.float64)
    for tensor in tensors:
        total = total + np.frombuffer(tensor.data(), dtype)
    yield np.ascontiguousarray(total.astype(dtype)).view(np.uint8).data
