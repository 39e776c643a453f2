"""Zeros are counted in every dtype, -0.0 among them, with and without a mask."""

import struct

import numpy as np
import pytest

from pruning_engine.buffer import CARRIERS, Buffer
from pruning_engine.kernels.backend import Backend
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.cpu.zeros import can_count_zeros, count_nonzero
from pruning_engine.kernels.cuda.backend import TorchBackend
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_proto.safetensors.dtypes import DTYPE_BITS, NEGATIVE_ZERO, WITHOUT_ZERO

WHOLE = sorted(CARRIERS)
ENTRIES = 300_000
"""More than one piece."""


def some_zeros(dtype: str, *, negative: bool) -> tuple[Buffer, np.ndarray]:
    """A tensor of random bits of a dtype, and which of its entries are zero."""
    width = DTYPE_BITS[dtype] // 8
    bits = np.random.default_rng(0).integers(1, 0x70, (ENTRIES, width), np.uint8)
    zero = np.arange(ENTRIES) % 3 == 0
    bits[zero] = 0
    if negative and dtype in NEGATIVE_ZERO:
        size, sign = NEGATIVE_ZERO[dtype]
        bits[::6] = np.frombuffer(sign.to_bytes(size // 8, "little") * (width * 8 // size), np.uint8)
    return Buffer.from_bytes(bits.reshape(-1), dtype, (ENTRIES,)), zero


@pytest.mark.parametrize("negative", [False, True], ids=["+0.0", "-0.0"])
@pytest.mark.parametrize("dtype", WHOLE)
def test_zeros_of_every_dtype_are_counted(dtype: str, negative: bool) -> None:
    flat, zero = some_zeros(dtype, negative=negative)
    zeros = 0 if dtype == WITHOUT_ZERO else int(zero.sum())
    assert ENTRIES - count_nonzero(flat, PackedMask.full(ENTRIES)) == zeros


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F8_E4M3", "I64"])
def test_entries_that_a_mask_prunes_do_not_count(dtype: str) -> None:
    flat, zero = some_zeros(dtype, negative=True)
    kept = np.arange(ENTRIES) % 2 == 0
    mask = PackedMask(ENTRIES, np.packbits(kept, bitorder="little"))
    assert count_nonzero(flat, mask) == int((kept & ~zero).sum())


def test_nan_and_subnormal_numbers_are_not_zero() -> None:
    numbers = np.array([np.nan, -np.nan, 1e-45, -1e-45, 0.0, -0.0], np.float32)
    signaling = struct.pack("<I", 0x7F800001)
    flat = Buffer.from_bytes(numbers.tobytes() + signaling, "F32", (7,))
    assert count_nonzero(flat, PackedMask.full(7)) == 5


@pytest.mark.parametrize("dtype", ["F4", "F6_E2M3", "F6_E3M2", "complex128"])
def test_dtypes_of_parts_of_a_byte_are_not_counted(dtype: str) -> None:
    assert not can_count_zeros(dtype)


@pytest.mark.parametrize("backend", [NumpyBackend(), TorchBackend("cpu")], ids=["numpy", "torch"])
def test_backends_count_the_same(backend: Backend) -> None:
    flat, zero = some_zeros("F16", negative=True)
    kept = np.arange(ENTRIES) % 5 != 0
    mask = backend.pack(backend.load(Buffer("BOOL", (ENTRIES,), kept.view(np.uint8))))
    assert backend.count_nonzero(backend.load(flat), mask) == int((kept & ~zero).sum())
    assert backend.count_nonzero(backend.load(flat), PackedMask.full(ENTRIES)) == int((~zero).sum())
