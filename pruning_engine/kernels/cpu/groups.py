"""The least entries of each group, on the CPU: `backend.GroupedCandidates` in numpy.

Where groups are contiguous, a piece is a run of flat entries and is packed at once; else see strided_groups.py.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pruning_engine.dtypes import packed_bytes
from pruning_engine.kernels.backend import BoolArray, GroupCut, Integers
from pruning_engine.kernels.cpu.arrays import unpacked
from pruning_engine.kernels.cpu.keys import Keys
from pruning_engine.kernels.cpu.strided_groups import keys_of_groups, mark_groups, unpruned_of_groups
from pruning_engine.kernels.group_layout import GroupLayout
from pruning_engine.kernels.packed_mask import PackedMask, packed_slice

Packed: TypeAlias = npt.NDArray[np.uint8]

_SHORT: Final = 32
"""Entries of a group up to which all pairs are compared; longer groups are partitioned."""


class NumpyGroups:
    """The candidates of one tensor, in groups. A piece is a range of groups."""

    def __init__(self, keys: Keys, mask: Packed | None, layout: GroupLayout, step: int) -> None:
        self._keys = keys
        self._mask = mask
        self._layout = layout
        self._is_contiguous = layout.is_contiguous
        self._step = step

    def pieces(self) -> Sequence[tuple[int, int]]:
        """Return where each piece begins and ends; contiguous ones begin at whole bytes of a packed mask."""
        return self._layout.pieces(self._step)

    def blank(self) -> Packed:
        """Return what `prune` marks kept entries in: packed bits, or one byte per entry."""
        entries = self._layout.entries
        return np.empty(packed_bytes(entries) if self._is_contiguous else entries, np.uint8)

    def packed(self, kept: Packed) -> PackedMask:
        """Return the mask of what `prune` has marked."""
        bits = kept if self._is_contiguous else np.packbits(kept, bitorder="little")
        return PackedMask(self._layout.entries, bits)

    def prune(self, piece: tuple[int, int], to_prune: Callable[[int, int], int], kept: Packed) -> GroupCut:
        """Mark in `kept` what stays of the groups of a piece."""
        keys, unpruned = self._read(piece)
        if self._has_nan(keys, unpruned):
            return GroupCut(None, has_nan=True)
        pruned, largest = least_of_rows(keys, unpruned, _counts(keys, unpruned, to_prune))
        stays = np.logical_not(pruned, out=pruned)
        if unpruned is not None:
            stays &= unpruned
        if self._is_contiguous:
            kept[self._bits_of(piece)] = np.packbits(stays.reshape(-1), bitorder="little")
        else:
            mark_groups(kept, self._layout, piece, stays)
        return GroupCut(largest, has_nan=False)

    def _read(self, piece: tuple[int, int]) -> tuple[Integers, BoolArray | None]:
        """Return the keys of a piece and which are unpruned, a row per group."""
        layout, mask = self._layout, self._mask
        if not self._is_contiguous:
            unpruned = None if mask is None else unpruned_of_groups(mask, layout, piece)
            return keys_of_groups(self._keys, layout, piece), unpruned
        shape = piece[1] - piece[0], layout.group_entries
        keys = self._keys.read(piece[0] * shape[1], piece[1] * shape[1]).reshape(shape)
        return keys, None if mask is None else unpacked(mask[self._bits_of(piece)], keys.size).reshape(shape)

    def _bits_of(self, piece: tuple[int, int]) -> slice:
        """Return where the packed bits of contiguous groups are."""
        entries = self._layout.group_entries
        return packed_slice(piece[0] * entries, piece[1] * entries)

    def _has_nan(self, keys: Integers, unpruned: BoolArray | None) -> bool:
        limit = self._keys.largest_number
        if limit is None or int(keys.max()) <= limit:
            return False
        nan = keys > keys.dtype.type(limit)
        return bool(nan.any() if unpruned is None else (nan & unpruned).any())


def _counts(keys: Integers, unpruned: BoolArray | None, to_prune: Callable[[int, int], int]) -> Integers:
    """Return how many entries of each row to prune."""
    rows, entries = keys.shape
    if unpruned is None:
        return np.full(rows, to_prune(entries, entries))
    numbers, which = np.unique(np.count_nonzero(unpruned, axis=1), return_inverse=True)
    counts: Integers = np.array([to_prune(int(number), entries) for number in numbers])[which]
    return counts


def least_of_rows(keys: Integers, unpruned: BoolArray | None, counts: Integers) -> tuple[BoolArray, int | None]:
    """Mark the least `counts` unpruned keys of each row, among equals the first; return the largest key marked too.

    `keys` are overwritten where pruned. Raises: nothing; `counts` must be at most what is unpruned.
    """
    if not counts.any():
        return np.zeros(keys.shape, np.bool_), None
    by = _by_pairs if keys.shape[1] <= _SHORT else _by_cuts
    return by(keys, unpruned, counts)


def _by_cuts(keys: Integers, unpruned: BoolArray | None, counts: Integers) -> tuple[BoolArray, int | None]:
    """Find each row's cut by partitioning, and settle equal keys from the left."""
    if unpruned is not None:
        np.copyto(keys, np.iinfo(keys.dtype).max, where=~unpruned)
    cuts = _cuts(keys, counts)
    pruned: BoolArray = np.less(keys, cuts)
    equal: BoolArray = np.equal(keys, cuts)
    if unpruned is not None:
        equal &= unpruned
    missing = counts - np.count_nonzero(pruned, axis=1)
    crowded = np.flatnonzero(np.count_nonzero(equal, axis=1) > missing)
    if len(crowded):
        some = equal[crowded]
        equal[crowded] = some & (np.cumsum(some, axis=1, dtype=np.int32) <= missing[crowded, None])
    pruned |= equal
    return pruned, int(cuts[counts > 0].max())


def _cuts(keys: Integers, counts: Integers) -> Integers:
    """Return the largest key to be pruned of each row, in a column; 0 where none is, which no key is below."""
    most = int(counts.max())
    if int(counts.min()) == most:
        cuts: Integers = np.partition(keys, most - 1, axis=1)[:, most - 1, None]
        return cuts
    ordered = np.sort(keys, axis=1)
    found = np.take_along_axis(ordered, np.maximum(counts - 1, 0)[:, None], axis=1)
    return np.where(counts[:, None] > 0, found, found.dtype.type(0))


def _by_pairs(keys: Integers, unpruned: BoolArray | None, counts: Integers) -> tuple[BoolArray, int | None]:
    """Rank the entries of short rows by comparing each pair: column against column, for all rows at once."""
    columns = np.ascontiguousarray(keys.T)
    ranks = np.empty(keys.size, np.uint8).reshape(columns.shape)
    if unpruned is None:
        _rank_all(columns, ranks)
        pruned: BoolArray = ranks < counts.astype(np.uint8)
    else:
        are_candidates = np.ascontiguousarray(unpruned.T)
        _rank_candidates(columns, are_candidates, ranks)
        pruned = (ranks < counts.astype(np.uint8)) & are_candidates
    # Multiplied, since numpy's maximum with a condition takes forty times as long.
    largest = int(np.multiply(columns, pruned, out=columns).max())
    return np.ascontiguousarray(pruned.T), largest


def _rank_all(columns: Integers, ranks: Packed) -> None:
    """Count for each entry those of its row that are pruned before it: smaller ones, and equal earlier ones."""
    ranks[:] = np.arange(len(columns) - 1, -1, -1, dtype=np.uint8)[:, None]
    is_before = np.empty(columns.shape[1], np.bool_)
    one = is_before.view(np.uint8)
    for later in range(1, len(columns)):
        for earlier in range(later):
            np.less_equal(columns[earlier], columns[later], out=is_before)
            ranks[later] += one
            ranks[earlier] -= one


def _rank_candidates(columns: Integers, are_candidates: BoolArray, ranks: Packed) -> None:
    """Count as `_rank_all` does, but only entries that can be pruned."""
    ranks[:] = 0
    for later in range(1, len(columns)):
        for earlier in range(later):
            is_before = columns[earlier] <= columns[later]
            ranks[later] += is_before & are_candidates[earlier]
            ranks[earlier] += ~is_before & are_candidates[later]
