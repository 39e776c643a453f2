"""Zeros counted on bytes alone, against values written out and against numpy."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning_client.models.lanes import count_zeros
from pruning_proto.safetensors.dtypes import DTYPE_BITS


@pytest.mark.parametrize(
    ("dtype", "data", "zeros"),
    [
        pytest.param("F32", struct.pack("<4f", 0.0, -0.0, 1e-45, 2.0), 2, id="F32, minus zero and a denormal"),
        pytest.param("F32", struct.pack("<2f", float("nan"), float("-inf")), 0, id="F32, NaN and infinity"),
        pytest.param("F64", struct.pack("<3d", 0.0, -0.0, 5e-324), 2, id="F64"),
        pytest.param("F16", struct.pack("<3e", 0.0, -0.0, 6e-8), 2, id="F16"),
        pytest.param("BF16", b"\x00\x00\x00\x80\x01\x00", 2, id="BF16"),
        pytest.param("F8_E4M3", b"\x00\x80\x01\x81", 2, id="F8"),
        pytest.param("F8_E5M2FNUZ", b"\x00\x80\x01", 1, id="F8 whose minus zero is NaN"),
        pytest.param("F4", b"\x80\x11\x01", 3, id="F4, two in a byte"),
        pytest.param("C64", struct.pack("<6f", 0.0, -0.0, 0.0, 1.0, 1.0, 0.0), 1, id="complex: both parts"),
        pytest.param("I32", struct.pack("<3i", 0, -(2**31), 1), 1, id="I32, the most negative is no zero"),
        pytest.param("BOOL", b"\x00\x01\x01", 1, id="BOOL"),
        pytest.param("U64", bytes(16), 2, id="U64"),
        pytest.param("F32", b"", 0, id="empty"),
        pytest.param("F8_E8M0", b"\x00", None, id="E8M0 has no zero"),
        pytest.param("F6_E2M3", bytes(3), None, id="6 bits"),
    ],
)
def test_zeros_are_counted(dtype: str, data: bytes, zeros: int | None) -> None:
    assert count_zeros(dtype, memoryview(data)) == zeros


@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_no_dtype_of_the_format_is_unknown(dtype: str) -> None:
    counted = count_zeros(dtype, memoryview(bytes(24)))
    assert counted == (None if dtype in {"F8_E8M0", "F6_E2M3", "F6_E3M2"} else 24 * 8 // DTYPE_BITS[dtype])


def test_pieces_add_up() -> None:
    values = np.arange(100_001, dtype=np.float32) % 3
    assert count_zeros("F32", values.view(np.uint8).data) == 33_334


@given(st.lists(st.integers(0, 2**16 - 1), max_size=40))
def test_any_bits_are_counted_as_numpy_counts_them(bits: list[int]) -> None:
    values = np.array(bits, np.uint16).view(np.float16)
    assert count_zeros("F16", memoryview(values.tobytes())) == int((values == 0).sum())
