"""Blocks of channels: small enough for a piece, whatever the shape, and the same result of any cut."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruning_engine.kernels.channel_layout import channel_layout
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.cuda.backend import TorchBackend
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.selection.channels import exact_channel_sums
from tests.engine.buffers import bits, flat, pack

SHAPES = [(2, 1001), (1001, 2), (3, 5, 67), (1, 9), (9, 1)]


@given(shape=st.lists(st.integers(1, 40), min_size=2, max_size=4), dim=st.integers(0, 1), eighths=st.integers(1, 60))
def test_blocks_follow_each_other_and_none_is_larger_than_asked(shape: list[int], dim: int, eighths: int) -> None:
    layout = channel_layout(shape, dim)
    at = 0
    for block in layout.blocks(8 * eighths):
        outer, channels, inner = block.shape
        assert block.begin == at
        assert block.end - block.begin == outer * channels * inner <= 8 * eighths
        assert 0 <= block.first_channel <= block.first_channel + channels <= layout.channels
        at = block.end
    assert at == layout.entries


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_is_cut_small_ranks_as_what_is_whole(shape: tuple[int, ...], dim: int) -> None:
    weight = torch.randint(-9, 9, shape).reshape(-1).to(torch.float32)  # small integers, whose sums are exact
    flags = torch.rand(len(weight)) < 0.5
    layout = channel_layout(shape, dim)
    full = PackedMask.full(len(weight))
    whole = NumpyBackend()
    at_once, kept = flat(whole, weight), pack(whole, flags)
    cuts = (NumpyBackend(64), TorchBackend(torch.device("cpu"), 64))
    for cut in cuts:
        numbers, mask = flat(cut, weight), pack(cut, flags)
        assert cut.norms(numbers, mask, layout, 2.0).tolist() == whole.norms(at_once, kept, layout, 2.0).tolist()
        assert cut.norms(numbers, full, layout, 1.0).tolist() == whole.norms(at_once, full, layout, 1.0).tolist()
        unpruned = cut.unpruned_channels(mask, layout)
        assert unpruned.tolist() == whole.unpruned_channels(kept, layout).tolist()
        unpruned[::2] = False
        assert bits(cut.spread(unpruned, mask, layout)) == bits(whole.spread(unpruned, kept, layout))


@pytest.mark.parametrize("dim", [0, 1])
def test_exact_sums_of_long_channels_are_rounded_once(dim: int) -> None:
    shape = (2, 200_001) if dim == 0 else (200_001, 2)
    weight = torch.randn(shape, dtype=torch.float64)
    layout = channel_layout(shape, dim)
    numbers = torch.arange(2).numpy()
    backend = NumpyBackend()
    sums = exact_channel_sums(backend, flat(backend, weight), PackedMask.full(weight.numel()), layout, numbers, 1.0)
    assert sums.tolist() == [math.fsum(channel.abs().tolist()) for channel in weight.unbind(dim)]


def test_exact_sums_of_long_channels_near_the_end_of_the_range() -> None:
    weight = torch.full((1, 100_000), 1e300, dtype=torch.float64)
    weight[0, ::2] = 1.0
    layout = channel_layout((1, 100_000), 0)
    backend, full, numbers = NumpyBackend(), PackedMask.full(100_000), torch.arange(1).numpy()
    sums = exact_channel_sums(backend, flat(backend, weight), full, layout, numbers, 1.0)
    assert sums.tolist() == [math.fsum(weight[0].tolist())]


@pytest.mark.parametrize("at", [0, 70_000, 199_999])
@pytest.mark.parametrize("dim", [0, 1])
def test_long_channels_that_differ_somewhere_are_not_alike(dim: int, at: int) -> None:
    weight = torch.ones(2, 200_000)
    backend = NumpyBackend(1 << 12)
    layout = channel_layout((2, 200_000) if dim == 0 else (200_000, 2), dim)
    numbers = torch.arange(2).numpy()
    assert backend.are_alike(flat(backend, weight.movedim(0, dim)), layout, numbers)
    weight[1, at] = 2.0
    assert not backend.are_alike(flat(backend, weight.movedim(0, dim)), layout, numbers)
