"""The CPU backend: numpy in pieces, on the engine's own threads."""

from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pruning_engine.buffer import CARRIERS, Buffer
from pruning_engine.dtypes import is_float, packed_bytes
from pruning_engine.kernels.backend import AnyBuffer, BoolArray, Candidates, Floats, Integers, NotBinaryError
from pruning_engine.kernels.channel_layout import ChannelLayout
from pruning_engine.kernels.cpu import norms
from pruning_engine.kernels.cpu.arrays import NumberReader, Values, count_ones, pieces, raw_integers, unpacked
from pruning_engine.kernels.cpu.candidates import NumpyCandidates
from pruning_engine.kernels.cpu.keys import Keys, RandomKeys, magnitude_keys
from pruning_engine.kernels.cpu.products import ProductKeys
from pruning_engine.kernels.cpu.relative import RelativeKeys, line_sums
from pruning_engine.kernels.cpu.slices import moved_, taken
from pruning_engine.kernels.cpu.zeros import count_nonzero
from pruning_engine.kernels.magnitude_keys import magnitude_bits
from pruning_engine.kernels.packed_mask import PackedMask, full_bits, packed_slice
from pruning_engine.kernels.relative import RelativeFactors
from pruning_engine.norm import Norm
from pruning_engine.runtime.threads import PIECE_ENTRIES, in_parallel

_Piece: TypeAlias = tuple[int, int]
_Packed: TypeAlias = npt.NDArray[np.uint8]

_RANDOM_STEPS: Final = 4
"""Parts of a piece for random keys: they are wide, take many calls, and so should stay in the cache."""


class NumpyBackend:
    """`backend.Backend` over host memory. `piece_entries` is a multiple of 8; it changes no result."""

    device = "cpu"

    def __init__(self, piece_entries: int = PIECE_ENTRIES) -> None:
        self._step = piece_entries

    def load(self, tensor: AnyBuffer) -> Buffer:
        """Return a tensor flat in C order, in host memory."""
        host: Buffer = tensor.host()
        return Buffer(host.dtype, (host.entries,), host.array.reshape(-1))

    def copy(self, flat: Buffer, out: AnyBuffer) -> None:
        """Write a flat tensor's entries into a buffer of any device."""
        out.fill(flat)

    def empty(self, dtype: str, entries: int) -> Buffer:
        """Return a flat tensor to be filled.

        numpy asks the kernel for huge pages and torch does not: first touch costs less than half.
        """
        return Buffer(dtype, (entries,), np.empty(entries, CARRIERS[dtype]))

    def pack(self, mask: Buffer) -> PackedMask:
        """Pack a flat mask of 0 and 1."""
        bits = np.empty(packed_bytes(mask.entries), np.uint8)
        in_parallel(partial(_pack_piece, mask, bits), pieces(mask.entries, self._step))
        return PackedMask(mask.entries, bits)

    def unpack(self, mask: PackedMask) -> Buffer:
        """Return the flat boolean mask."""
        if mask.bits is None:
            return Buffer("BOOL", (mask.entries,), np.ones(mask.entries, np.uint8))
        flags = np.empty(mask.entries, np.uint8)
        in_parallel(partial(_unpack_piece, mask.bits, flags), pieces(mask.entries, self._step))
        return Buffer("BOOL", (mask.entries,), flags)

    def bits(self, mask: PackedMask) -> Buffer:
        """Return the mask's bits."""
        bits = full_bits(mask.entries) if mask.bits is None else mask.bits
        return Buffer("U8", (len(bits),), bits)

    def from_bits(self, bits: Buffer, entries: int) -> PackedMask:
        """Return the mask that a flat tensor holds."""
        return PackedMask(entries, np.ascontiguousarray(bits.array))

    def count(self, mask: PackedMask) -> int:
        """Count the entries that a mask keeps."""
        return mask.entries if mask.bits is None else count_ones(mask.bits)

    def nonzero(self, flat: Buffer) -> PackedMask:
        """Mark the entries that are not zero."""
        bits = np.empty(packed_bytes(flat.entries), np.uint8)
        in_parallel(partial(_nonzero_piece, flat, bits), pieces(flat.entries, self._step))
        return PackedMask(flat.entries, bits)

    def count_nonzero(self, flat: Buffer, mask: PackedMask) -> int:
        """Count the entries that a mask keeps and that are not zero."""
        return count_nonzero(flat, mask)

    def apply(self, flat: Buffer, mask: PackedMask, out: Buffer) -> None:
        """Write the entries that are kept, and +0.0 for the others."""
        if mask.bits is None:
            np.copyto(out.array, flat.array)
            return
        source, target = raw_integers(flat), raw_integers(out)
        in_parallel(partial(_apply_piece, source, mask.bits, target), pieces(flat.entries, self._step))

    def magnitudes(self, flat: Values, domain: str, mask: PackedMask) -> Candidates:
        """Return the unpruned entries as candidates by magnitude."""
        return self._candidates(magnitude_keys(flat, domain), mask)

    def products(
        self, flat: Values, factors: npt.NDArray[Any], layout: ChannelLayout, domain: str, mask: PackedMask
    ) -> Candidates:
        """Return the unpruned entries as candidates by magnitude times the factor of their channel."""
        return self._candidates(ProductKeys(flat, factors, layout, domain), mask)

    def line_sums(
        self, flat: Values, mask: PackedMask, shape: tuple[int, int, int], unit: float
    ) -> tuple[Floats, Floats]:
        """Return the sums of the rows and of the columns of matrices."""
        return line_sums(flat, mask, shape, unit, self._step)

    def relative(self, flat: Values, factors: RelativeFactors, mask: PackedMask) -> Candidates:
        """Return the unpruned entries as candidates by |x| times its factor."""
        return self._candidates(RelativeKeys(flat, factors), mask)

    def random(self, key: int, mask: PackedMask) -> Candidates:
        """Return the unpruned entries as candidates by random scores."""
        return self._candidates(RandomKeys(key), mask)

    def _candidates(self, keys: Keys, mask: PackedMask) -> Candidates:
        step = max(8, self._step // _RANDOM_STEPS) if isinstance(keys, RandomKeys) else self._step
        return NumpyCandidates(keys, mask, self.count(mask), step)

    def norms(self, flat: Values, mask: PackedMask, layout: ChannelLayout, norm: Norm) -> Floats:
        """Return what ranks each channel."""
        return norms.channel_norms(flat, mask, layout, norm, self._step)

    def channels(
        self, flat: Values, mask: PackedMask, layout: ChannelLayout, numbers: Integers, span: tuple[int, int]
    ) -> Floats:
        """Return some channels' entries of `span`, a row each, 0 where pruned."""
        return norms.channel_rows(flat, mask, layout, numbers, span)

    def are_alike(self, flat: Values, layout: ChannelLayout, numbers: Integers) -> bool:
        """Whether channels hold the same bits."""
        return norms.are_alike(flat, layout, numbers, self._step)

    def unpruned_channels(self, mask: PackedMask, layout: ChannelLayout) -> BoolArray:
        """Mark the channels that have an unpruned entry."""
        return norms.unpruned_channels(mask, layout, self._step)

    def spread(self, channels: BoolArray, mask: PackedMask, layout: ChannelLayout) -> PackedMask:
        """Return the mask of the unpruned entries of the marked channels."""
        bits = np.empty(packed_bytes(layout.entries), np.uint8)
        norms.spread(channels, layout, self._step, bits)
        return PackedMask(layout.entries, bits).restrict_(mask)

    def take(self, tensor: AnyBuffer, dim: int, positions: Integers, *, in_place: bool = False) -> Buffer:
        """Return some positions along a dim."""
        host: Buffer = tensor.host()
        return (moved_ if in_place and host.array.flags.c_contiguous else taken)(host, dim, positions)


def _pack_piece(mask: Buffer, bits: _Packed, piece: _Piece) -> None:
    bits[packed_slice(*piece)] = np.packbits(_ones(mask, *piece), bitorder="little")


def _unpack_piece(bits: _Packed, flags: _Packed, piece: _Piece) -> None:
    begin, end = piece
    flags[begin:end] = unpacked(bits[packed_slice(begin, end)], end - begin)


def _ones(mask: Buffer, begin: int, end: int) -> Integers | BoolArray:
    """Return 1 where a mask is 1. Raises: NotBinaryError if it is neither that nor 0 somewhere."""
    if mask.dtype in ("BOOL", "U8"):
        flags = mask.array[begin:end]
        if flags.max(initial=0) > 1:
            raise NotBinaryError
        return flags
    numbers = NumberReader(mask, np.float64).read(begin, end)
    ones: BoolArray = np.equal(numbers, 1.0)
    if np.count_nonzero(ones) + np.count_nonzero(numbers == 0.0) != end - begin:
        raise NotBinaryError
    return ones


def _nonzero_piece(flat: Buffer, bits: _Packed, piece: _Piece) -> None:
    begin, end = piece
    numbers = raw_integers(flat)[begin:end]
    if is_float(flat.dtype):
        magnitude = numbers.dtype.type(magnitude_bits(flat.dtype))
        numbers = np.bitwise_and(numbers, magnitude)
    bits[packed_slice(begin, end)] = np.packbits(np.not_equal(numbers, 0), bitorder="little")


def _apply_piece(source: npt.NDArray[Any], bits: _Packed, target: npt.NDArray[Any], piece: _Piece) -> None:
    begin, end = piece
    # Times 0 or 1 as integers: the bits stay or become +0.0, several times as fast as any copy by condition.
    ones = np.unpackbits(bits[packed_slice(begin, end)], count=end - begin, bitorder="little")
    np.multiply(source[begin:end], ones.astype(source.dtype), out=target[begin:end])
