"""The backend of other devices: the same algorithm in torch operations, with masks and weights on the device.

Only counts, samples and the few collected entries come to the host. It works on CPU tensors too, which is how tests
compare it with the numpy backend where no other device is available.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pruning_engine.buffer import Buffer
from pruning_engine.dtypes import is_float
from pruning_engine.kernels.backend import (
    DEVICE_PIECE_ENTRIES,
    AnyBuffer,
    BoolArray,
    Candidates,
    Floats,
    Integers,
    NotBinaryError,
)
from pruning_engine.kernels.channel_layout import Block, ChannelLayout
from pruning_engine.kernels.cpu.arrays import pieces
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.cuda.bits import bits_at, count_bits, pack_bits, unpack_bits
from pruning_engine.kernels.cuda.candidates import TorchCandidates
from pruning_engine.kernels.cuda.keys import ProductKeys, RandomKeys, magnitude_keys
from pruning_engine.kernels.cuda.relative import RelativeKeys, line_sums
from pruning_engine.kernels.cuda.values import SIGNED, NumberReader, Values
from pruning_engine.kernels.magnitude_keys import magnitude_bits
from pruning_engine.kernels.packed_mask import PackedMask, full_bits, packed_slice
from pruning_engine.kernels.relative import RelativeFactors
from pruning_engine.kernels.scaled_weights import ScaledWeights
from pruning_engine.norm import NamedNorm, Norm, is_reproducible, power_of
from pruning_engine.torch_tensors import TORCH_DTYPES, DeviceBuffer, to_tensor


class TorchBackend:
    """`backend.Backend` in torch operations. `piece_entries` is a multiple of 8; it changes no result."""

    def __init__(self, device: torch.device | str, piece_entries: int = DEVICE_PIECE_ENTRIES) -> None:
        self.device = str(device)
        self._device = torch.device(device)
        self._step = piece_entries

    def load(self, tensor: AnyBuffer) -> DeviceBuffer:
        """Return a tensor flat in C order on the device."""
        return DeviceBuffer(to_tensor(tensor).reshape(-1).to(self._device))

    def copy(self, flat: DeviceBuffer, out: AnyBuffer) -> None:
        """Write a flat tensor's entries into a buffer of any device; into pinned memory without a detour."""
        to_tensor(out).copy_(flat.tensor.view(out.shape))

    def empty(self, dtype: str, entries: int) -> DeviceBuffer:
        """Return a flat tensor to be filled."""
        return DeviceBuffer(torch.empty(entries, dtype=TORCH_DTYPES[dtype], device=self._device))

    def pack(self, mask: DeviceBuffer) -> PackedMask:
        """Pack a flat mask of 0 and 1."""
        flat = mask.tensor
        numbers = flat.view(torch.uint8) if flat.dtype is torch.bool else flat.to(torch.float64)
        if not bool(((numbers == 0) | (numbers == 1)).all()):
            raise NotBinaryError
        return PackedMask(flat.numel(), pack_bits(numbers == 1))

    def unpack(self, mask: PackedMask) -> DeviceBuffer:
        """Return the flat boolean mask."""
        if mask.bits is None:
            return DeviceBuffer(torch.ones(mask.entries, dtype=torch.bool, device=self._device))
        return DeviceBuffer(unpack_bits(mask.bits, mask.entries))

    def bits(self, mask: PackedMask) -> DeviceBuffer:
        """Return the mask's bits."""
        if mask.bits is None:
            return DeviceBuffer(torch.from_numpy(full_bits(mask.entries)).to(self._device))
        return DeviceBuffer(mask.bits)

    def from_bits(self, bits: DeviceBuffer, entries: int) -> PackedMask:
        """Return the mask that a flat tensor holds."""
        return PackedMask(entries, bits.tensor)

    def count(self, mask: PackedMask) -> int:
        """Count the entries that a mask keeps."""
        return mask.entries if mask.bits is None else count_bits(mask.bits)

    def nonzero(self, flat: DeviceBuffer) -> PackedMask:
        """Mark the entries that are not zero."""
        parts = [pack_bits(_is_nonzero(flat, begin, end)) for begin, end in pieces(flat.entries, self._step)]
        bits = torch.cat(parts) if parts else torch.empty(0, dtype=torch.uint8, device=self._device)
        return PackedMask(flat.entries, bits)

    def count_nonzero(self, flat: DeviceBuffer, mask: PackedMask) -> int:
        """Count the entries that a mask keeps and that are not zero."""
        return self.count(self.nonzero(flat).restrict_(mask))

    def apply(self, flat: DeviceBuffer, mask: PackedMask, out: DeviceBuffer) -> None:
        """Write the entries that are kept, and +0.0 for the others."""
        source, target = _as_integers(flat.tensor), _as_integers(out.tensor)
        if mask.bits is None:
            target.copy_(source)
            return
        for begin, end in pieces(flat.entries, self._step):
            ones = unpack_bits(mask.bits[packed_slice(begin, end)], end - begin)
            torch.mul(source[begin:end], ones, out=target[begin:end])

    def magnitudes(self, flat: Values, domain: str, mask: PackedMask) -> Candidates:
        """Return the unpruned entries as candidates by magnitude."""
        return TorchCandidates(magnitude_keys(flat, domain), mask, self._step)

    def products(
        self, flat: Values, factors: npt.NDArray[Any], layout: ChannelLayout, domain: str, mask: PackedMask
    ) -> Candidates:
        """Return the unpruned entries as candidates by magnitude times the factor of their channel."""
        return TorchCandidates(ProductKeys(flat, factors, layout, domain), mask, self._step)

    def line_sums(
        self, flat: Values, mask: PackedMask, shape: tuple[int, int, int], unit: float
    ) -> tuple[Floats, Floats]:
        """Return the sums of the rows and of the columns of matrices."""
        of_rows, of_columns = line_sums(NumberReader(flat), mask, shape, unit, self._step)
        return of_rows.cpu().numpy() * unit, of_columns.cpu().numpy() * unit

    def relative(self, flat: Values, factors: RelativeFactors, mask: PackedMask) -> Candidates:
        """Return the unpruned entries as candidates by |x| times its factor."""
        return TorchCandidates(RelativeKeys(flat, factors), mask, self._step)

    def random(self, key: int, mask: PackedMask) -> Candidates:
        """Return the unpruned entries as candidates by random scores."""
        return TorchCandidates(RandomKeys(key, self._device), mask, self._step)

    def norms(self, flat: Values, mask: PackedMask, layout: ChannelLayout, norm: Norm) -> Floats:
        """Return what ranks each channel; norms that are not reproducible are computed on the host."""
        if norm is NamedNorm.NUC or not is_reproducible(norm):
            on_host = PackedMask(mask.entries, None if mask.bits is None else mask.bits.cpu().numpy())
            return NumpyBackend().norms(flat.host(), on_host, layout, norm)
        power = power_of(norm)
        start = torch.inf if power == -torch.inf else 0.0
        reader = NumberReader(flat)
        totals = torch.full((layout.channels,), start, dtype=torch.float64, device=self._device)
        for block in layout.blocks(self._step):
            span = totals[block.first_channel : block.first_channel + block.shape[1]]
            _combine(span, _magnitudes(reader, mask, block), power)
        result: Floats = totals.cpu().numpy()
        return result

    def channels(
        self, flat: Values, mask: PackedMask, layout: ChannelLayout, numbers: Integers, span: tuple[int, int]
    ) -> Floats:
        """Return some channels' entries of `span`, a row each, 0 where pruned."""
        within = torch.from_numpy(layout.within(*span)).to(self._device)
        positions = torch.from_numpy(numbers).to(self._device).view(-1, 1) * layout.inner + within
        values = NumberReader(flat).at(positions, torch.float64)
        if mask.bits is not None:
            values = values.where(bits_at(mask.bits, positions), 0.0)
        result: Floats = values.cpu().numpy()
        return result

    def are_alike(self, flat: Values, layout: ChannelLayout, numbers: Integers) -> bool:
        """Whether channels hold the same entries; of several scales that is not known."""
        if isinstance(flat, ScaledWeights):
            return flat.layout.scales == 1 and self.are_alike(flat.codes, layout, numbers)
        rows = _as_integers(flat.tensor).view(layout.outer, layout.channels, layout.inner)
        chosen = rows[:, torch.from_numpy(numbers).to(self._device)]
        return bool((chosen == chosen[:, :1]).all())

    def unpruned_channels(self, mask: PackedMask, layout: ChannelLayout) -> BoolArray:
        """Mark the channels that have an unpruned entry."""
        if mask.bits is None:
            return np.full(layout.channels, layout.channel_entries > 0)
        flags = unpack_bits(mask.bits, layout.entries).view(layout.outer, layout.channels, layout.inner)
        result: BoolArray = flags.any(dim=2).any(dim=0).cpu().numpy()
        return result

    def spread(self, channels: BoolArray, mask: PackedMask, layout: ChannelLayout) -> PackedMask:
        """Return the mask of the unpruned entries of the marked channels."""
        marks = torch.from_numpy(channels).to(self._device).view(1, -1, 1)
        bits = pack_bits(marks.expand(layout.outer, layout.channels, layout.inner).reshape(-1))
        return PackedMask(layout.entries, bits).restrict_(mask)

    def take(self, tensor: AnyBuffer, dim: int, positions: Integers, *, in_place: bool = False) -> AnyBuffer:
        """Return some positions along a dim, as bits: not every operation knows every dtype.

        A tensor in host memory stays there.
        """
        if isinstance(tensor, Buffer):
            return NumpyBackend().take(tensor, dim, positions, in_place=in_place)
        return DeviceBuffer(selected(tensor.tensor, dim, positions))


def selected(tensor: torch.Tensor, dim: int, positions: Integers) -> torch.Tensor:
    """Return some positions along a dim in torch operations."""
    bits = tensor.view(SIGNED[tensor.dtype.itemsize])
    return bits.index_select(dim, torch.from_numpy(positions).to(tensor.device)).view(tensor.dtype)


def _as_integers(flat: torch.Tensor) -> torch.Tensor:
    return flat.view(SIGNED[flat.dtype.itemsize])


def _is_nonzero(flat: DeviceBuffer, begin: int, end: int) -> torch.Tensor:
    bits = _as_integers(flat.tensor[begin:end])
    if is_float(flat.dtype):
        bits = bits & magnitude_bits(flat.dtype)
    return bits.ne(0)


def _magnitudes(numbers: NumberReader, mask: PackedMask, block: Block) -> torch.Tensor:
    values = numbers.read(block.begin, block.end, torch.float64).abs()
    if mask.bits is not None:
        before = block.begin % 8
        bits = unpack_bits(mask.bits[packed_slice(block.begin, block.end)], before + len(values))
        values = values.where(bits[before:], 0.0)
    return values.view(block.shape)


def _combine(totals: torch.Tensor, magnitudes: torch.Tensor, power: float) -> None:
    """Add a block's terms, the same as channel_norms.terms_in_place has them, to the totals of its channels."""
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
