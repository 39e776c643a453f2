"""Entries that differ, counted on bytes alone, against numpy."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning_client.models.lanes import BITS, Differences, count_differences

HALVES = st.integers(0, 2**16 - 1) | st.sampled_from([0, 1 << 15])


@given(st.lists(st.tuples(HALVES, HALVES), max_size=60))
def test_any_bits_differ_as_numpy_says(pairs: list[tuple[int, int]]) -> None:
    bits = np.array(pairs, np.uint16).reshape(-1, 2)
    before, after = (np.ascontiguousarray(bits[:, side]) for side in (0, 1))
    zero = [side.view(np.float16) == 0 for side in (before, after)]
    found = count_differences("F16", memoryview(before.tobytes()), memoryview(after.tobytes()))
    assert found.zeros_before == zero[0].sum()
    assert found.zeros_after == zero[1].sum()
    assert found.changed == (before != after).sum()
    assert found.became_zero == (zero[1] & ~zero[0]).sum()
    assert found.became_nonzero == (zero[0] & ~zero[1]).sum()


def test_minus_zero_differs_from_zero_in_its_bits_only() -> None:
    before, after = struct.pack("<2f", 0.0, 1.0), struct.pack("<2f", -0.0, 1.0)
    found = count_differences("F32", memoryview(before), memoryview(after))
    assert found == Differences(zeros_before=1, zeros_after=1, changed=1, became_zero=0)


@pytest.mark.parametrize(
    ("dtype", "before", "after", "changed", "became_zero"),
    [("F4", b"\x12", b"\x82", 1, 1), (BITS, b"\x0f", b"\x01", 3, 3), ("BOOL", b"\x01\x00", b"\x00\x01", 2, 1)],
)
def test_narrow_entries_are_lanes_too(dtype: str, before: bytes, after: bytes, changed: int, became_zero: int) -> None:
    found = count_differences(dtype, memoryview(before), memoryview(after))
    assert (found.changed, found.became_zero) == (changed, became_zero)


def test_pieces_add_up() -> None:
    before = np.arange(1, 99_991, dtype=np.uint32).astype(np.uint16) | 1
    after = before.copy()
    after[::10] = 0
    found = count_differences("U16", before.view(np.uint8).data, after.view(np.uint8).data)
    assert (found.changed, found.became_zero) == (9999, 9999)
