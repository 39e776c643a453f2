"""Buffers of one call: used again, never more than announced, and freed with the call."""

import gc

import numpy as np

from pruning_proto.limits import MIB
from pruning_service.streams.buffers import Buffers

SIZE = 4 * MIB


def test_a_buffer_that_nobody_refers_to_is_used_again() -> None:
    buffers = Buffers(10 * SIZE)
    first = buffers.take(SIZE)
    first.fill(7)
    del first
    assert bool((buffers.take(SIZE) == 7).all())


def test_a_view_keeps_its_buffer() -> None:
    buffers = Buffers(10 * SIZE)
    first = buffers.take(SIZE)
    first.fill(7)
    view = first.view(np.float32)[5:].data
    del first
    gc.collect()
    buffers.take(SIZE).fill(0)
    assert bytes(view.cast("B")[:4]) == b"\7\7\7\7"


def test_idle_buffers_make_room_for_those_of_other_sizes() -> None:
    buffers = Buffers(2 * SIZE)
    for size in (SIZE, SIZE + 8, SIZE + 16, 2 * SIZE):
        buffers.take(size)
        assert buffers.held_bytes <= 2 * SIZE + 2 * MIB  # whole pages of 2 MiB


def test_more_than_promised_is_given_all_the_same() -> None:
    buffers = Buffers(SIZE)
    held = [buffers.take(SIZE) for _ in range(3)]
    assert len({buffer.ctypes.data for buffer in held}) == 3


def test_any_size_can_be_had() -> None:
    buffers = Buffers(SIZE)
    assert [buffers.take(size).size for size in (0, 1, MIB, 2 * MIB + 1)] == [0, 1, MIB, 2 * MIB + 1]
