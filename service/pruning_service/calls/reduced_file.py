"""A file without the units that a plan leaves out: its layout, and the byte ranges that are not needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from pruning_engine.dtypes import element_bits
from pruning_engine.planning.surgery.surgery import Surgery
from pruning_engine.runtime.yield_points import with_yields
from pruning_proto.safetensors.header import Layout, TensorEntry

_TENSORS_BETWEEN_YIELDS = 256


@dataclass(frozen=True, slots=True)
class ReducedFile:
    """What remains of a file.

    `layout`: of the bytes that are needed, one after the other, as if that file had been sent with the whole file's
    header. `skipped`: the others, [begin, end) from the begin of the buffer, ascending, not adjacent.
    """

    layout: Layout
    skipped: Sequence[tuple[int, int]]


def reduced_file(file: Layout, surgery: Surgery) -> ReducedFile:
    """Return what remains of a file after a surgery."""
    if surgery.changes_nothing:
        return ReducedFile(file, ())
    left = {spec.name: spec for spec in surgery.tensors}
    entries, skipped = [], _Ranges()
    begin = 0
    for entry in with_yields(file.tensors, _TENSORS_BETWEEN_YIELDS):
        if entry.name not in left:
            skipped.add(entry.begin, entry.end)
            continue
        row_bytes = prod(entry.shape[1:]) * element_bits(entry.dtype) // 8
        runs = surgery.removed_rows.get(entry.name)
        missing = 0
        for first, last in () if runs is None else runs.tolist():
            skipped.add(entry.begin + first * row_bytes, entry.begin + last * row_bytes)
            missing += (last - first) * row_bytes
        end = begin + entry.end - entry.begin - missing
        entries.append(TensorEntry(entry.name, entry.dtype, tuple(left[entry.name].shape), begin, end))
        begin = end
    return ReducedFile(Layout(tuple(entries), file.metadata, file.header_bytes), skipped.found)


class _Ranges:
    """Ranges in ascending order, adjacent ones as one."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []

    def add(self, begin: int, end: int) -> None:
        if begin == end:
            return
        if self.found and self.found[-1][1] == begin:
            begin = self.found.pop()[0]
        self.found.append((begin, end))
