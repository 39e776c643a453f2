"""The CPU backend: numpy in pieces, on the engine's own threads."""

from functools import partial
from typing import Final

import numpy as np
import torch

from pruning_engine.kernels import magnitude_keys as scores
from pruning_engine.kernels.backend import Bits, BoolArray, Candidates, Floats, Integers, NotBinaryError
from pruning_engine.kernels.channel_layout import ChannelLayout
from pruning_engine.kernels.cpu import norms as numpy_norms
from pruning_engine.kernels.cpu.arrays import NumberReader, bit_array, count_ones, pieces, raw_integers, unpacked
from pruning_engine.kernels.cpu.candidates import NumpyCandidates, RandomKeys, magnitude_keys
from pruning_engine.norm import Norm
from pruning_engine.runtime.scratch_buffers import PIECE_ENTRIES, buffer
from pruning_engine.runtime.threads import in_parallel

_Piece = tuple[int, int]

_RANDOM_STEPS: Final = 4
"""Into so many a piece is cut for random keys: they are wide, take many calls, and so should stay in the cache."""


class NumpyBackend:
    """`backend.Backend` over CPU tensors. `piece_entries` is a multiple of 8; it changes no result."""

    device = torch.device("cpu")

    def __init__(self, piece_entries: int = PIECE_ENTRIES) -> None:
        self._step = piece_entries

    def pack(self, mask: torch.Tensor) -> Bits:
        """Pack a flat mask of 0 and 1."""
        bits = torch.empty((mask.numel() + 7) // 8, dtype=torch.uint8, device="cpu")
        in_parallel(partial(_pack_piece, mask, bits), pieces(mask.numel(), self._step))
        return bits

    def unpack(self, bits: Bits, size: int) -> torch.Tensor:
        """Give the flat boolean mask."""
        mask = torch.empty(size, dtype=torch.bool, device="cpu")
        in_parallel(partial(_unpack_piece, bits, mask), pieces(size, self._step))
        return mask

    def count(self, bits: Bits) -> int:
        """Count the ones."""
        return count_ones(bit_array(bits))

    def nonzero(self, flat: torch.Tensor) -> Bits:
        """Mark the entries that are not zero."""
        bits = torch.empty((flat.numel() + 7) // 8, dtype=torch.uint8, device="cpu")
        in_parallel(partial(_nonzero_piece, flat, bits), pieces(flat.numel(), self._step))
        return bits

    def apply(self, flat: torch.Tensor, bits: Bits, out: torch.Tensor) -> None:
        """Write the entries that are kept, and +0.0 for the others."""
        in_parallel(partial(_apply_piece, flat, bits, out), pieces(flat.numel(), self._step))

    def magnitudes(self, flat: torch.Tensor, domain: torch.dtype, alive: Bits | None) -> Candidates:
        """Let entries compete by magnitude."""
        return NumpyCandidates(magnitude_keys(flat, domain), flat.numel(), alive, self._step)

    def random(self, key: int, size: int, alive: Bits | None) -> Candidates:
        """Let entries compete by random scores."""
        return NumpyCandidates(RandomKeys(key), size, alive, max(8, self._step // _RANDOM_STEPS))

    def norms(self, flat: torch.Tensor, alive: Bits | None, layout: ChannelLayout, norm: Norm) -> Floats:
        """Give what ranks each channel."""
        return numpy_norms.channel_norms(flat, alive, layout, norm, self._step)

    def channels(
        self, flat: torch.Tensor, alive: Bits | None, layout: ChannelLayout, numbers: Integers, span: tuple[int, int]
    ) -> Floats:
        """Give some channels' entries of `span`, a row each, 0 where they are not alive."""
        return numpy_norms.channel_rows(flat, alive, layout, numbers, span)

    def are_alike(self, flat: torch.Tensor, layout: ChannelLayout, numbers: Integers) -> bool:
        """Whether channels hold the same bits."""
        return numpy_norms.are_alike(flat, layout, numbers, self._step)

    def living_channels(self, alive: Bits, layout: ChannelLayout) -> BoolArray:
        """Mark the channels that have an alive entry."""
        return numpy_norms.living_channels(alive, layout, self._step)

    def spread(self, channels: BoolArray, alive: Bits | None, layout: ChannelLayout) -> Bits:
        """Give the mask of the alive entries of the marked channels."""
        bits = torch.empty((layout.entries + 7) // 8, dtype=torch.uint8, device="cpu")
        numpy_norms.spread(channels, layout, self._step, bits)
        return bits if alive is None else bits.bitwise_and_(alive)


def _pack_piece(mask: torch.Tensor, bits: Bits, piece: _Piece) -> None:
    begin, end = piece
    ones = _ones(mask, begin, end)
    bit_array(bits)[begin // 8 : (end + 7) // 8] = np.packbits(ones, bitorder="little")


def _unpack_piece(bits: Bits, mask: torch.Tensor, piece: _Piece) -> None:
    begin, end = piece
    mask.numpy()[begin:end] = unpacked(bit_array(bits)[begin // 8 : (end + 7) // 8], end - begin)


def _ones(mask: torch.Tensor, begin: int, end: int) -> Integers | BoolArray:
    """Give 1 where a mask is 1. Raises: NotBinaryError if it is neither that nor 0 somewhere."""
    if mask.dtype in (torch.bool, torch.uint8):
        flags = raw_integers(mask)[begin:end]
        if flags.max(initial=0) > 1:
            raise NotBinaryError
        return flags
    numbers = NumberReader(mask, np.float64).read(begin, end)
    ones: BoolArray = np.equal(numbers, 1.0, out=buffer("flags", np.bool_, end - begin))
    if np.count_nonzero(ones) + np.count_nonzero(numbers == 0.0) != end - begin:
        raise NotBinaryError
    return ones


def _nonzero_piece(flat: torch.Tensor, bits: Bits, piece: _Piece) -> None:
    begin, end = piece
    numbers = raw_integers(flat)[begin:end]
    if flat.dtype.is_floating_point:
        magnitude = numbers.dtype.type(scores.magnitude_bits(flat.dtype))
        numbers = np.bitwise_and(numbers, magnitude, out=buffer("keys", numbers.dtype, end - begin))
    flags = np.not_equal(numbers, 0, out=buffer("flags", np.bool_, end - begin))
    bit_array(bits)[begin // 8 : (end + 7) // 8] = np.packbits(flags, bitorder="little")


def _apply_piece(flat: torch.Tensor, bits: Bits, out: torch.Tensor, piece: _Piece) -> None:
    begin, end = piece
    entries = raw_integers(flat)[begin:end]
    # Times 0 or 1 as integers: the bits stay or become +0.0, several times as fast as any copy by condition.
    ones = np.unpackbits(bit_array(bits)[begin // 8 : (end + 7) // 8], count=end - begin, bitorder="little")
    factors = buffer("factors", entries.dtype, end - begin)
    np.copyto(factors, ones)
    np.multiply(entries, factors, out=raw_integers(out)[begin:end])
