"""FP8 weights with scales for these tests, and their values by a computation of its own."""

import torch

Tensors = dict[str, torch.Tensor]


def values(codes: torch.Tensor, scale: torch.Tensor, block: tuple[int, ...]) -> torch.Tensor:
    """Return code times scale in fp64, by repeating each scale over its block."""
    spread = scale.to(torch.float64).reshape([-(-size // each) for size, each in zip(codes.shape, block, strict=True)])
    for dim, each in enumerate(block):
        spread = spread.repeat_interleave(each, dim)
    return codes.to(torch.float64) * spread[tuple(slice(size) for size in codes.shape)]


def random_codes(*shape: int, dtype: torch.dtype = torch.float8_e4m3fn, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 8).to(dtype)


def random_scale(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.exp2(torch.rand(shape, generator=generator) * 8 - 4)


def best_half(values: Tensors) -> Tensors:
    """Return the masks that a global rule leaves of half the entries; among equals, earlier ones are pruned."""
    names = sorted(values)
    every = torch.cat([values[name].abs().flatten() for name in names])
    kept = torch.ones(len(every), dtype=torch.bool)
    kept[every.argsort(stable=True)[: round(len(every) / 2)]] = False
    parts = torch.split(kept, [values[name].numel() for name in names])
    return {name: part.reshape(values[name].shape) for name, part in zip(names, parts, strict=True)}
