"""A tensor cut into views: every entry once, in C order, none too large."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning_client.frameworks.blocks import Block, blocks, has_no_overlap

SHAPES = st.lists(st.integers(0, 5), max_size=4)


@given(SHAPES, st.integers(1, 40))
def test_cuts_hold_every_entry_once_in_order(shape: list[int], most: int) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    found = [array[cut.index].ravel().tolist() for cut in blocks(shape, most)]
    assert list(chain(*found)) == array.ravel().tolist()
    assert max(map(len, found)) <= most


@given(SHAPES, st.integers(1, 40))
def test_a_cut_says_where_its_bits_are(shape: list[int], most: int) -> None:
    flat = np.arange(np.prod(shape, dtype=int)) % 3 == 0
    packed = np.packbits(flat, bitorder="little")
    for cut in blocks(shape, most):
        bits = np.unpackbits(packed[cut.packed], bitorder="little")[cut.spare :][: cut.entries]
        assert bits.tolist() == flat[cut.first : cut.first + cut.entries].tolist()


def test_rows_are_gathered_and_what_is_larger_is_cut_inside() -> None:
    assert list(blocks((3, 2), 4)) == [Block((slice(0, 2), ...), 0, 4), Block((slice(2, 3), ...), 4, 2)]
    assert list(blocks((2, 3), 2))[:2] == [Block((0, slice(0, 2), ...), 0, 2), Block((0, slice(2, 3), ...), 2, 1)]


@pytest.mark.parametrize(
    ("shape", "strides", "apart"),
    [
        pytest.param((2, 3), (3, 1), True, id="dense"),
        pytest.param((3, 2), (1, 3), True, id="transposed"),
        pytest.param((3,), (-2,), True, id="backwards"),
        pytest.param((), (), True, id="scalar"),
        pytest.param((1, 3), (0, 1), True, id="a dim of one"),
        pytest.param((0, 3), (0, 0), True, id="empty"),
        pytest.param((3, 2), (0, 1), False, id="expanded"),
        pytest.param((3, 2), (1, 1), False, id="windows that overlap"),
    ],
)
def test_overlap_is_seen(shape: tuple[int, ...], strides: tuple[int, ...], apart: bool) -> None:
    assert has_no_overlap(shape, strides, 1) is apart


def test_entries_of_several_bytes_overlap_sooner() -> None:
    assert has_no_overlap((2,), (4,), 4)
    assert not has_no_overlap((2,), (2,), 4)
