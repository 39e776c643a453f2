"""Seeds of random pruning for callers that pass none."""

import torch


def draw_seed() -> int:
    """Draw 64 bits from torch's default generator of the CPU, so that `torch.manual_seed` governs them everywhere."""
    high, low = torch.randint(2**32, (2,), device="cpu").tolist()
    return int(high) << 32 | int(low)
