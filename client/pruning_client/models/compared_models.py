"""Two models compared, tensor by tensor, in the memory of a few pieces: what `prune diff` prints.

What is counted (zeros, entries that differ) needs no numpy; how far entries moved does.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Literal

from pruning_client.models.lanes import Differences, count_differences, count_zeros, has_zero
from pruning_client.models.model_tensors import ModelTensor, ModelTensors, open_model
from pruning_proto.names import PACKED_KEY, PACKED_ORDER_KEY, ZSTD_KEY
from pruning_proto.safetensors.dtypes import DTYPE_BITS

if TYPE_CHECKING:
    from pruning_client.models.changes import Changes

Status = Literal["equal", "changed", "dtype", "shape", "only_before", "only_after"]

_OF_STORAGE: Final = (PACKED_KEY, PACKED_ORDER_KEY, ZSTD_KEY)
"""Keys of metadata that say how tensors are stored, not what they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSide:
    """A tensor in one of the two models. `zeros` is None if its dtype has no zero to count."""

    dtype: str
    shape: tuple[int, ...]
    entries: int
    zeros: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorDiff:
    """What differs in one tensor. `before` or `after` is None where it is in one of the models only.

    `changed` counts the entries whose bits differ, `became_zero` and `became_nonzero` those that are zero in one of the
    two only; None where dtypes or shapes differ. `largest_change` is the largest |w - w'|, and `relative_change` is
    ||W - W'|| / ||W||; None without numpy, for dtypes of 4 and 6 bits, and where shapes differ.
    """

    name: str
    status: Status
    before: TensorSide | None
    after: TensorSide | None
    changed: int | None = None
    became_zero: int | None = None
    became_nonzero: int | None = None
    largest_change: float | None = None
    relative_change: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        fields = asdict(self)
        for name in ("largest_change", "relative_change"):
            if fields[name] is not None and math.isinf(fields[name]):
                fields[name] = "Infinity"  # as in protobuf's JSON mapping: JSON has no such number
        return fields


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Sums over the tensors of one model. `zeros` are of those whose dtype has a zero, `bytes` that of the files."""

    tensors: int
    entries: int
    zeros: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDiff:
    """Two models compared. `tensors` has every name, those of the first model first, in its order.

    `metadata` are the keys of the files' metadata whose values differ. `has_changes_measured`: whether numpy was there
    to say how far entries moved.
    """

    tensors: tuple[TensorDiff, ...]
    before: ModelSize
    after: ModelSize
    metadata: tuple[str, ...]
    has_changes_measured: bool

    @property
    def is_equal(self) -> bool:
        """Whether all tensors are the same, bit for bit; metadata may differ."""
        return all(tensor.status == "equal" for tensor in self.tensors)

    def count(self, status: Status) -> int:
        """Return the number of tensors of this status."""
        return sum(tensor.status == status for tensor in self.tensors)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        statuses: Sequence[Status] = ("equal", "changed", "dtype", "shape", "only_before", "only_after")
        return {
            "equal": self.is_equal,
            "before": asdict(self.before),
            "after": asdict(self.after),
            "counts": {status: self.count(status) for status in statuses},
            "changed_entries": sum(tensor.changed or 0 for tensor in self.tensors),
            "metadata": list(self.metadata),
            "changes_measured": self.has_changes_measured,
            "tensors": [tensor.to_dict() for tensor in self.tensors],
        }


def compare_models(before: str | PathLike[str], after: str | PathLike[str]) -> ModelDiff:
    """Compare two models: files, the shards of an index, or folders, packed or not.

    Raises: OSError. CheckpointError. ImportError if one is packed and numpy is missing.
    """
    one, other = open_model(before), open_model(after)
    is_measured = find_spec("numpy") is not None
    names = dict.fromkeys([*one.tensors, *other.tensors])
    tensors = tuple(
        _compared(name, one.tensors.get(name), other.tensors.get(name), is_measured=is_measured) for name in names
    )
    keys = sorted((one.metadata.keys() | other.metadata.keys()) - {*_OF_STORAGE})
    return ModelDiff(
        tensors=tensors,
        before=_size(one, [tensor.before for tensor in tensors]),
        after=_size(other, [tensor.after for tensor in tensors]),
        metadata=tuple(key for key in keys if one.metadata.get(key) != other.metadata.get(key)),
        has_changes_measured=is_measured,
    )


def _size(model: ModelTensors, sides: Sequence[TensorSide | None]) -> ModelSize:
    present = [side for side in sides if side is not None]
    counted = [side for side in present if side.zeros is not None]
    return ModelSize(
        len(present), sum(side.entries for side in counted), sum(side.zeros or 0 for side in counted), model.bytes
    )


def _compared(name: str, before: ModelTensor | None, after: ModelTensor | None, *, is_measured: bool) -> TensorDiff:
    if before is None or after is None:
        status: Status = "only_after" if before is None else "only_before"
        return TensorDiff(name=name, status=status, before=_counted_alone(before), after=_counted_alone(after))
    if before.shape != after.shape:
        return TensorDiff(name=name, status="shape", before=_counted_alone(before), after=_counted_alone(after))
    return _Comparison(before, after, is_measured=is_measured).run()


def _counted_alone(tensor: ModelTensor | None) -> TensorSide | None:
    if tensor is None:
        return None
    zeros = sum(count_zeros(tensor.dtype, piece) or 0 for piece in tensor.pieces()) if has_zero(tensor.dtype) else None
    return _side(tensor, zeros)


def _side(tensor: ModelTensor, zeros: int | None) -> TensorSide:
    return TensorSide(dtype=tensor.dtype, shape=tensor.shape, entries=tensor.entries, zeros=zeros)


class _Comparison:
    """One tensor of one shape in both models, read once."""

    def __init__(self, before: ModelTensor, after: ModelTensor, *, is_measured: bool) -> None:
        self._sides = (before, after)
        self._has_one_dtype = before.dtype == after.dtype
        self._changes = _changes(before.dtype, after.dtype) if is_measured else None

    def run(self) -> TensorDiff:
        """Return what differs. Raises: as `compare_models`."""
        before, after = self._sides
        found, is_equal = Differences(), self._has_one_dtype
        for one, other in _in_step(before, after):
            is_equal = is_equal and one == other
            found += self._counted(one, other)
            if self._changes is not None:
                self._changes.add(one, other)
        return self._result(found, is_equal=is_equal)

    def _counted(self, one: memoryview, other: memoryview) -> Differences:
        before, after = self._sides
        if self._has_one_dtype and has_zero(before.dtype):
            return count_differences(before.dtype, one, other)
        return Differences(count_zeros(before.dtype, one) or 0, count_zeros(after.dtype, other) or 0)

    def _result(self, found: Differences, *, is_equal: bool) -> TensorDiff:
        before, after = self._sides
        status: Status = "equal" if is_equal else "changed" if self._has_one_dtype else "dtype"
        is_counted = self._has_one_dtype and has_zero(before.dtype)
        return TensorDiff(
            name=before.name,
            status=status,
            before=_side(before, found.zeros_before if has_zero(before.dtype) else None),
            after=_side(after, found.zeros_after if has_zero(after.dtype) else None),
            changed=found.changed if is_counted else None,
            became_zero=found.became_zero if is_counted else None,
            became_nonzero=found.became_nonzero if is_counted else None,
            largest_change=None if self._changes is None else self._changes.largest,
            relative_change=None if self._changes is None else self._changes.relative,
        )


def _changes(before: str, after: str) -> "Changes | None":
    from pruning_client.models.changes import Changes  # noqa: PLC0415 - numpy, if it is installed
    from pruning_client.models.numbers import is_known  # noqa: PLC0415

    return Changes(before, after) if is_known(before) and is_known(after) else None


def _in_step(before: ModelTensor, after: ModelTensor) -> Iterator[tuple[memoryview, memoryview]]:
    """Return the bytes of the same entries of both, in pieces: each may be read in pieces of its own."""
    bits = (DTYPE_BITS[before.dtype], DTYPE_BITS[after.dtype])
    pieces = (before.pieces(), after.pieces())
    one = other = memoryview(b"")
    while True:
        one = one or next(pieces[0], one)
        other = other or next(pieces[1], other)
        if not (one and other):
            return
        if bits[0] == bits[1]:
            ends = (min(len(one), len(other)),) * 2  # also for 6 bits, whose entries do not end with a byte
        else:
            entries = min(len(one) * 8 // bits[0], len(other) * 8 // bits[1])
            ends = (entries * bits[0] // 8, entries * bits[1] // 8)
        yield one[: ends[0]], other[: ends[1]]
        one, other = one[ends[0] :], other[ends[1] :]
