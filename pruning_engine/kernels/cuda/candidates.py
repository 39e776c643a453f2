"""Entries that can be pruned, in torch operations. Only samples, counts and collected entries come to the host."""

from collections.abc import Sequence

import numpy as np
import torch

from pruning_engine.dtypes import packed_bytes
from pruning_engine.kernels.backend import RUN_ENTRIES, GroupedCandidates, Integers, Least, Split
from pruning_engine.kernels.cpu.arrays import nth_least, pieces
from pruning_engine.kernels.cpu.keys import sampled_runs
from pruning_engine.kernels.cuda.bits import bits_at, count_bits, pack_bits, unpack_bits
from pruning_engine.kernels.cuda.groups import TorchGroups
from pruning_engine.kernels.cuda.keys import Keys, RandomKeys
from pruning_engine.kernels.group_layout import GroupLayout
from pruning_engine.kernels.packed_mask import Bits, PackedMask, packed_slice


class TorchCandidates:
    """The unpruned entries of one tensor: `backend.Candidates` in torch operations."""

    def __init__(self, keys: Keys, mask: PackedMask, step: int) -> None:
        self.entries = mask.entries
        self.unpruned = count_bits(mask.bits) if mask.bits is not None else mask.entries
        self.highest = keys.highest
        self.is_uniform = isinstance(keys, RandomKeys)
        self._keys = keys
        self._mask = mask.bits
        self._step = step

    def pieces(self) -> Sequence[tuple[int, int]]:
        """Return where each piece begins and ends."""
        return pieces(self.entries, self._step)

    def blank(self) -> PackedMask:
        """Return a mask to be filled."""
        bits = torch.empty(packed_bytes(self.entries), dtype=torch.uint8, device=self._keys.device)
        return PackedMask(self.entries, bits)

    def sample(self, stride: int, seed: int) -> Integers:
        """Return the keys of the candidates in runs drawn at random, one of `stride`."""
        runs = sampled_runs(self.entries, stride, seed)
        device = self._keys.device
        within = torch.arange(RUN_ENTRIES, device=device)
        places = (torch.from_numpy(runs).to(device).view(-1, 1) * RUN_ENTRIES + within).view(-1)
        if self._mask is not None:
            places = places[bits_at(self._mask, places)]
        return self._on_host(self._keys.at(places))

    def everything(self) -> Integers:
        """Return the keys of all candidates."""
        keys = self._keys.read(0, self.entries)
        return self._on_host(keys if self._mask is None else keys[unpack_bits(self._mask, self.entries)])

    def read(self, begin: int, end: int) -> Integers:
        """Return the keys of entries from `begin` to `end`, 0 where pruned."""
        keys = self._on_host(self._keys.read(begin, end))
        if self._mask is not None:
            before = begin % 8
            unpruned = unpack_bits(self._mask[packed_slice(begin, end)], before + end - begin)[before:]
            keys[~unpruned.cpu().numpy()] = 0
        return keys

    def least(self, count: int, stride: int) -> Least | None:  # noqa: ARG002 - one signature for all
        """Leave it to several steps."""
        return None

    def split(self, piece: tuple[int, int], low: int, high: int, kept: PackedMask) -> Split:
        """Write the piece's bits and look into the bracket."""
        keys = self._keys.read(*piece)
        at_least = self._restrict(keys >= low - self._keys.offset, piece)
        bits = pack_bits(at_least)
        _bits(kept)[packed_slice(*piece)] = bits
        has_nan = self._has_nan(keys, piece)
        inside = at_least.logical_and_(keys <= high - self._keys.offset)
        if low == high:
            return Split(count_bits(bits), int(inside.sum()), None, None, has_nan)
        positions = inside.nonzero().view(-1)
        places: Integers = positions.to(torch.int32).cpu().numpy().view(np.uint32)
        return Split(count_bits(bits), len(places), places, self._on_host(keys[positions]), has_nan)

    def largest(self, piece: tuple[int, int]) -> int:
        """Return the largest key of the piece's candidates; 0 if it has none."""
        keys = self._keys.read(*piece)
        if self._mask is not None:
            keys = keys[self._unpruned_in(self._mask, piece)]
        return int(keys.max()) + self._keys.offset if keys.numel() else 0

    def nth_least(self, keys: Integers, rank: int) -> tuple[int, int]:
        """Return the key of a rank among some, and how many equal ones are of smaller rank."""
        return nth_least(keys, rank)

    def drop(self, begin: int, split: Split, cut: int, quota: int, kept: PackedMask) -> int:
        """Clear the bits of what was collected below `cut`, and of the first `quota` entries at it."""
        bits = _bits(kept)
        places = torch.from_numpy(split.dropped(cut, quota).astype(np.int64)).to(bits.device)
        one = torch.ones((), dtype=torch.uint8, device=bits.device)
        # Every position once, and its bit set before: subtracting clears it, whichever comes first.
        bits[begin // 8 :].index_add_(0, places >> 3, one << (places & 7).to(torch.uint8), alpha=-1)
        return split.dropped_at(cut, quota)

    def drop_equal(self, piece: tuple[int, int], key: int, count: int, kept: PackedMask) -> None:
        """Clear the bits of the first `count` candidates of a piece that have this key."""
        equal = self._restrict(self._keys.read(*piece) == key - self._keys.offset, piece)
        to_prune = equal & (equal.cumsum(0) <= count)
        _bits(kept)[packed_slice(*piece)] &= ~pack_bits(to_prune)

    def is_nan(self, key: int) -> bool:
        """Whether entries of this key are NaN."""
        return self._keys.largest_number is not None and key > self._keys.largest_number

    def in_groups(self, layout: GroupLayout) -> GroupedCandidates:
        """Return the candidates in groups."""
        return TorchGroups(self._keys, self._mask, layout, self._step)

    @staticmethod
    def _unpruned_in(mask: Bits, piece: tuple[int, int]) -> torch.Tensor:
        begin, end = piece
        return unpack_bits(mask[packed_slice(begin, end)], end - begin)

    def _restrict(self, flags: torch.Tensor, piece: tuple[int, int]) -> torch.Tensor:
        return flags if self._mask is None else flags.logical_and_(self._unpruned_in(self._mask, piece))

    def _has_nan(self, keys: torch.Tensor, piece: tuple[int, int]) -> bool:
        if self._keys.largest_number is None:
            return False
        return bool(self._restrict(keys > self._keys.largest_number, piece).any())

    def _on_host(self, keys: torch.Tensor) -> Integers:
        host: Integers = keys.to(torch.int64).cpu().numpy().view(np.uint64)
        return host ^ np.uint64(self._keys.offset) if self._keys.offset else host


def _bits(kept: PackedMask) -> torch.Tensor:
    bits: torch.Tensor | None = kept.bits
    if bits is None:
        raise RuntimeError("a mask to be filled needs its bits; `blank` makes one")
    return bits
