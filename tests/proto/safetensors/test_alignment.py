"""Tensors of odd sizes come last, so that every tensor begins at a multiple of its dtype's size."""

import random
from math import prod

import pytest

from pruning_proto.safetensors.alignment import postponed
from pruning_proto.safetensors.dtypes import DTYPE_BITS
from pruning_proto.safetensors.header import tensor_bytes


@pytest.mark.parametrize(
    ("tensors", "last"),
    [
        pytest.param([], [], id="no tensor"),
        pytest.param([("F32", 8), ("BF16", 6), ("BOOL", 3)], [], id="aligned already"),
        pytest.param([("BOOL", 3), ("F32", 4)], [0], id="an odd number of bytes first"),
        pytest.param([("BF16", 6), ("F32", 4), ("F32", 8)], [0], id="an odd number of words first"),
        pytest.param([("BOOL", 3), ("F32", 4), ("I64", 8)], [1, 0], id="the larger dtype first"),
        pytest.param([("BOOL", 4), ("F32", 4), ("U8", 3)], [], id="bytes that align what follows"),
        pytest.param([("F4", 1), ("F16", 2), ("F4", 2)], [0], id="half bytes"),
    ],
)
def test_tensors_of_odd_sizes_come_last(tensors: list[tuple[str, int]], last: list[int]) -> None:
    assert postponed(tensors) == last


@pytest.mark.parametrize("seed", range(50))
def test_every_tensor_is_aligned(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    shapes = [(chance.choice(list(DTYPE_BITS)), (8 * chance.randrange(3) + 4 * chance.randrange(2),)) for _ in range(9)]
    shapes += [("BOOL", (chance.randrange(9),)), ("BF16", (chance.randrange(9),))]
    chance.shuffle(shapes)
    sizes = [(dtype, tensor_bytes(dtype, shape)) for dtype, shape in shapes if prod(shape) * DTYPE_BITS[dtype] % 8 == 0]
    last = postponed(sizes)
    begin = 0
    for position in [*(set(range(len(sizes))) - set(last)), *last]:
        dtype, nbytes = sizes[position]
        assert begin % max(1, DTYPE_BITS[dtype] // 8) == 0
        begin += nbytes
