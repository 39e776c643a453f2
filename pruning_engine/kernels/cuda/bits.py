"""Packed bits in torch operations: see packed_mask.py for their layout."""

import torch

from pruning_engine.kernels.packed_mask import spare_bits


def pack_bits(flags: torch.Tensor) -> torch.Tensor:
    """Pack flat bools."""
    spare = spare_bits(flags.numel())
    padded = torch.nn.functional.pad(flags, (0, spare)) if spare else flags
    return (padded.view(-1, 8).to(torch.uint8) << _shifts(flags.device)).sum(dim=1, dtype=torch.uint8)


def unpack_bits(bits: torch.Tensor, entries: int) -> torch.Tensor:
    """Return the flat bools."""
    return (bits.view(-1, 1) >> _shifts(bits.device) & 1).view(-1)[:entries].to(torch.bool)


def count_bits(bits: torch.Tensor) -> int:
    """Count the ones."""
    pairs = bits - (bits >> 1 & 0x55)
    fours = (pairs & 0x33) + (pairs >> 2 & 0x33)
    return int(((fours + (fours >> 4)) & 0x0F).sum(dtype=torch.int64))


def bits_at(bits: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the bits at flat positions as bools."""
    return (bits[positions >> 3] >> (positions & 7).to(torch.uint8) & 1).to(torch.bool)


def _shifts(device: torch.device) -> torch.Tensor:
    return torch.arange(8, dtype=torch.uint8, device=device)
