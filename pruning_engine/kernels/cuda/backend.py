"""The backend of other devices: the same algorithm in torch operations, with masks and weights on the device.

Only counts, samples and the few collected entries come to the host. It works on CPU tensors too, which is how it is
held equal to the numpy backend where there is no other device.
"""

from typing import Final

import torch

from pruning_engine.kernels.backend import Bits, BoolArray, Candidates, Floats, Integers, NotBinaryError
from pruning_engine.kernels.channel_layout import Block, ChannelLayout
from pruning_engine.kernels.cpu import norms as numpy_norms
from pruning_engine.kernels.cpu.arrays import pieces
from pruning_engine.kernels.cuda.bits import bits_at, count_bits, pack_bits, unpack_bits
from pruning_engine.kernels.cuda.candidates import MagnitudeKeys, RandomKeys, TorchCandidates
from pruning_engine.norm import NamedNorm, Norm, is_reproducible, power_of
from pruning_engine.runtime.scratch_buffers import PIECE_ENTRIES

_DEVICE_PIECE_ENTRIES: Final = 1 << 24
_INTEGERS: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class TorchBackend:
    """`backend.Backend` in torch operations. `piece_entries` is a multiple of 8; it changes no result."""

    def __init__(self, device: torch.device, piece_entries: int = _DEVICE_PIECE_ENTRIES) -> None:
        self.device = device
        self._step = piece_entries

    def pack(self, mask: torch.Tensor) -> Bits:
        """Pack a flat mask of 0 and 1."""
        numbers = mask.view(torch.uint8) if mask.dtype is torch.bool else mask.to(torch.float64)
        if not bool(((numbers == 0) | (numbers == 1)).all()):
            raise NotBinaryError
        return pack_bits(numbers == 1)

    def unpack(self, bits: Bits, size: int) -> torch.Tensor:
        """Give the flat boolean mask."""
        return unpack_bits(bits, size)

    def count(self, bits: Bits) -> int:
        """Count the ones."""
        return count_bits(bits)

    def nonzero(self, flat: torch.Tensor) -> Bits:
        """Mark the entries that are not zero."""
        parts = [pack_bits(_is_nonzero(flat[begin:end])) for begin, end in pieces(flat.numel(), self._step)]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.uint8, device=self.device)

    def apply(self, flat: torch.Tensor, bits: Bits, out: torch.Tensor) -> None:
        """Write the entries that are kept, and +0.0 for the others."""
        source, target = _as_integers(flat), _as_integers(out)
        for begin, end in pieces(flat.numel(), self._step):
            ones = unpack_bits(bits[begin // 8 : (end + 7) // 8], end - begin)
            torch.mul(source[begin:end], ones, out=target[begin:end])

    def magnitudes(self, flat: torch.Tensor, domain: torch.dtype, alive: Bits | None) -> Candidates:
        """Let entries compete by magnitude."""
        return TorchCandidates(MagnitudeKeys(flat, domain), flat.numel(), alive, self._step)

    def random(self, key: int, size: int, alive: Bits | None) -> Candidates:
        """Let entries compete by random scores."""
        return TorchCandidates(RandomKeys(key, self.device), size, alive, self._step)

    def norms(self, flat: torch.Tensor, alive: Bits | None, layout: ChannelLayout, norm: Norm) -> Floats:
        """Give what ranks each channel; norms that are not reproducible are the host's work."""
        if norm is NamedNorm.NUC or not is_reproducible(norm):
            host = alive.cpu() if alive is not None else None
            return numpy_norms.channel_norms(flat.cpu(), host, layout, norm, PIECE_ENTRIES)
        power = power_of(norm)
        start = torch.inf if power == -torch.inf else 0.0
        totals = torch.full((layout.channels,), start, dtype=torch.float64, device=self.device)
        for block in layout.blocks(self._step):
            span = totals[block.first_channel : block.first_channel + block.shape[1]]
            _combine(span, _magnitudes(flat, alive, block), power)
        result: Floats = totals.cpu().numpy()
        return result

    def channels(
        self, flat: torch.Tensor, alive: Bits | None, layout: ChannelLayout, numbers: Integers, span: tuple[int, int]
    ) -> Floats:
        """Give some channels' entries of `span`, a row each, 0 where they are not alive."""
        within = torch.from_numpy(layout.within(*span)).to(self.device)
        positions = torch.from_numpy(numbers).to(self.device).view(-1, 1) * layout.inner + within
        values = flat.view(_INTEGERS[flat.dtype.itemsize])[positions].view(flat.dtype).to(torch.float64)
        if alive is not None:
            values = values.where(bits_at(alive, positions), 0.0)
        result: Floats = values.cpu().numpy()
        return result

    def are_alike(self, flat: torch.Tensor, layout: ChannelLayout, numbers: Integers) -> bool:
        """Whether channels hold the same entries."""
        rows = _as_integers(flat).view(layout.outer, layout.channels, layout.inner)
        chosen = rows[:, torch.from_numpy(numbers).to(self.device)]
        return bool((chosen == chosen[:, :1]).all())

    def living_channels(self, alive: Bits, layout: ChannelLayout) -> BoolArray:
        """Mark the channels that have an alive entry."""
        flags = unpack_bits(alive, layout.entries).view(layout.outer, layout.channels, layout.inner)
        result: BoolArray = flags.any(dim=2).any(dim=0).cpu().numpy()
        return result

    def spread(self, channels: BoolArray, alive: Bits | None, layout: ChannelLayout) -> Bits:
        """Give the mask of the alive entries of the marked channels."""
        marks = torch.from_numpy(channels).to(self.device).view(1, -1, 1)
        bits: Bits = pack_bits(marks.expand(layout.outer, layout.channels, layout.inner).reshape(-1))
        if alive is not None:
            bits &= alive
        return bits


def _as_integers(flat: torch.Tensor) -> torch.Tensor:
    return flat.detach().view(_INTEGERS[flat.dtype.itemsize])


def _is_nonzero(flat: torch.Tensor) -> torch.Tensor:
    bits = _as_integers(flat)
    if flat.dtype.is_floating_point:
        bits = bits & 2 ** (8 * flat.dtype.itemsize - 1) - 1  # without the sign
    return bits.ne(0)


def _magnitudes(flat: torch.Tensor, alive: Bits | None, block: Block) -> torch.Tensor:
    values = flat[block.begin : block.end].to(torch.float64).abs()
    if alive is not None:
        before = block.begin % 8
        bits = unpack_bits(alive[block.begin // 8 : (block.end + 7) // 8], before + len(values))
        values = values.where(bits[before:], 0.0)
    return values.view(block.shape)


def _combine(totals: torch.Tensor, magnitudes: torch.Tensor, power: float) -> None:
    """Add a block's terms, the same as norms.terms_in_place has them, to the totals of its channels."""
    match power:
        case torch.inf:
            totals.copy_(torch.maximum(totals, magnitudes.amax(dim=(0, 2))))
            return
        case _ if power == -torch.inf:
            totals.copy_(torch.minimum(totals, magnitudes.amin(dim=(0, 2))))
            return
        case 0.0:
            terms = (magnitudes != 0).to(torch.float64).where(~magnitudes.isnan(), torch.nan)
        case 0.5:
            terms = magnitudes.sqrt()
        case 1.0:
            terms = magnitudes
        case 2.0:
            terms = magnitudes * magnitudes
        case 3.0:
            terms = magnitudes * magnitudes * magnitudes
        case _:
            terms = magnitudes * magnitudes
            terms = terms * terms
    totals.add_(terms.sum(dim=(0, 2)))
