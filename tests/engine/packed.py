"""Packed masks for these tests."""

import numpy as np
import torch


def pack(mask: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.packbits(mask.reshape(-1).numpy(), bitorder="little"))


def unpack(bits: object, like: torch.Tensor) -> torch.Tensor:
    assert isinstance(bits, torch.Tensor)
    flat = np.unpackbits(bits.numpy(), count=like.numel(), bitorder="little")
    return torch.from_numpy(flat.astype(bool)).reshape(like.shape)
