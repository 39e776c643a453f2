"""The CPU backend with compiled kernels. What kernels.c has no loop for is left to numpy."""

import ctypes
from functools import partial
from typing import Final

import numpy as np

from pruning_engine.buffer import Buffer
from pruning_engine.kernels.backend import Candidates, Floats
from pruning_engine.kernels.channel_layout import Block, ChannelLayout
from pruning_engine.kernels.compiled.candidates import CompiledCandidates
from pruning_engine.kernels.compiled.library import Bracket, Found, address, kernels_of
from pruning_engine.kernels.compiled.splits import KeySplit, PieceSplit, RandomSplit
from pruning_engine.kernels.cpu import norms
from pruning_engine.kernels.cpu.arrays import Values, pieces, raw_integers
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.cpu.keys import Keys, RandomKeys
from pruning_engine.kernels.packed_mask import PackedMask, packed_slice
from pruning_engine.norm import NamedNorm, Norm, power_of
from pruning_engine.runtime.threads import PIECE_ENTRIES, in_parallel
from pruning_proto.safetensors.dtypes import NEGATIVE_ZERO, WITHOUT_ZERO

_BLOCK: Final = 64
"""Entries that kernels.c works on at a time."""

_SUMS: Final = {"F32": "f32", "F64": "f64", "BF16": "bf16"}
"""Dtypes whose channels kernels.c can sum up."""


class CompiledBackend(NumpyBackend):
    """`NumpyBackend` with loops in C, of an instruction set of this machine: the same bits."""

    def __init__(self, level: str, piece_entries: int = PIECE_ENTRIES) -> None:
        super().__init__(piece_entries)
        self._kernels = kernels_of(level)

    def apply(self, flat: Buffer, mask: PackedMask, out: Buffer) -> None:
        """Write the entries that are kept, and +0.0 for the others."""
        is_one_value = flat.array.strides == (0,)
        if mask.bits is None or not _are_contiguous(out) or not (is_one_value or _are_contiguous(flat)):
            super().apply(flat, mask, out)
            return
        source, target, bits = raw_integers(flat), raw_integers(out), mask.bits
        block = np.repeat(source[:1], _BLOCK) if is_one_value else None
        apply = self._kernels.function(f"apply_{source.itemsize * 8}")

        def apply_piece(piece: tuple[int, int]) -> None:
            begin, end = piece
            entries, step = (source[begin:], 1) if block is None else (block, 0)
            apply(address(entries), step, end - begin, address(bits[begin // 8 :]), address(target[begin:]))

        in_parallel(apply_piece, pieces(flat.entries, self._step))

    def count(self, mask: PackedMask) -> int:
        """Count the entries that a mask keeps."""
        if mask.bits is None:
            return mask.entries
        return self._kernels.function("ones")(address(mask.bits), len(mask.bits))

    def count_nonzero(self, flat: Buffer, mask: PackedMask) -> int:
        """Count the entries that a mask keeps and that are not zero."""
        if flat.dtype == WITHOUT_ZERO or not _are_contiguous(flat):
            return super().count_nonzero(flat, mask)
        entries, bits = raw_integers(flat), mask.bits
        width, sign = NEGATIVE_ZERO.get(flat.dtype, (0, 0))
        signs = sign << width | sign if flat.dtype == "C64" else sign
        magnitude = int(np.iinfo(entries.dtype).max) & ~signs
        split = self._kernels.function(f"split_{entries.itemsize * 8}")

        def count(piece: tuple[int, int]) -> int:
            begin, end = piece
            bracket, found = Bracket(1, 1, magnitude), Found()
            kept = None if bits is None else bits[packed_slice(begin, end)]
            split(
                *(address(entries[begin:end]), end - begin, magnitude, ctypes.addressof(bracket), address(kept)),
                *(None, None, None, 0, ctypes.addressof(found)),
            )
            return int(found.kept)

        return sum(in_parallel(count, pieces(flat.entries, self._step)))

    def _candidates(self, keys: Keys, mask: PackedMask) -> Candidates:
        split: PieceSplit = KeySplit(self._kernels, keys)
        if isinstance(keys, RandomKeys):
            split = RandomSplit(self._kernels, keys)
        return CompiledCandidates(keys, mask, self.count(mask), self._step, split=split, kernels=self._kernels)

    def norms(self, flat: Values, mask: PackedMask, layout: ChannelLayout, norm: Norm) -> Floats:
        """Return what ranks each channel."""
        if not (isinstance(flat, Buffer) and flat.dtype in _SUMS and _are_contiguous(flat)):
            return super().norms(flat, mask, layout, norm)
        if not (mask.is_full and _is_summed(norm)):
            return super().norms(flat, mask, layout, norm)
        reduce = partial(self._sums, flat, is_squared=power_of(norm) == 2.0)
        return norms.combined(reduce, layout, norm, self._step)

    def _sums(self, flat: Buffer, block: Block, *, is_squared: bool) -> Floats:
        sums = np.zeros(block.shape[1])
        add = self._kernels.function(f"sums_{_SUMS[flat.dtype]}")
        add(address(flat.array[block.begin :]), *block.shape, is_squared, address(sums))
        return sums


def _is_summed(norm: Norm) -> bool:
    return norm is not NamedNorm.NUC and power_of(norm) in (1.0, 2.0)


def _are_contiguous(*flat: Buffer) -> bool:
    """Whether tensors have no gaps between their entries, as the loops in C assume; views of torch tensors may."""
    return all(each.array.flags.c_contiguous for each in flat)
