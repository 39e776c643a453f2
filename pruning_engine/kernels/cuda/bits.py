"""Packed masks in torch operations: see backend.py for their form."""

import torch

from pruning_engine.kernels.backend import Bits


def pack_bits(flags: torch.Tensor) -> Bits:
    """Pack flat bools."""
    spare = -flags.numel() % 8
    padded = torch.nn.functional.pad(flags, (0, spare)) if spare else flags
    return (padded.view(-1, 8).to(torch.uint8) << _shifts(flags.device)).sum(dim=1, dtype=torch.uint8)


def unpack_bits(bits: Bits, size: int) -> torch.Tensor:
    """Give the flat bools."""
    return (bits.view(-1, 1) >> _shifts(bits.device) & 1).view(-1)[:size].to(torch.bool)


def count_bits(bits: Bits) -> int:
    """Count the ones."""
    pairs = bits - (bits >> 1 & 0x55)
    fours = (pairs & 0x33) + (pairs >> 2 & 0x33)
    return int(((fours + (fours >> 4)) & 0x0F).sum(dtype=torch.int64))


def bits_at(bits: Bits, positions: torch.Tensor) -> torch.Tensor:
    """Give the bits at flat positions as bools."""
    return (bits[positions >> 3] >> (positions & 7).to(torch.uint8) & 1).to(torch.bool)


def _shifts(device: torch.device) -> torch.Tensor:
    return torch.arange(8, dtype=torch.uint8, device=device)
