"""Memory for kernels is lent: to one user at a time, again to the next, and to nobody at rest."""

import threading
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from pruning_engine.kernels.compiled.scratch import free_scratch_arrays, scratch_arrays

LONG, BYTE = np.dtype(np.uint64), np.dtype(np.uint8)
ENTRIES = 1 << 17
MIB = 1 << 20


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    free_scratch_arrays()
    yield
    free_scratch_arrays()


def test_arrays_have_room_for_every_entry_and_share_none() -> None:
    with scratch_arrays(13, BYTE, LONG) as (bytes_, longs), scratch_arrays(13, LONG) as (others,):
        bytes_[:], longs[:], others[:] = 1, 2, 3
        assert len(bytes_) >= 13 <= len(longs)
        assert set(bytes_) == {1}
        assert set(longs) == {2}


def test_memory_is_used_again_by_other_threads_and_freed_when_asked() -> None:
    def use() -> None:
        with scratch_arrays(ENTRIES, LONG) as (array,):
            array[:] = 1

    tracemalloc.start()
    try:
        for _ in range(8):
            thread = threading.Thread(target=use)
            thread.start()
            thread.join()
        assert MIB <= tracemalloc.get_traced_memory()[0] < 2 * MIB

        free_scratch_arrays()
        assert tracemalloc.get_traced_memory()[0] < MIB // 2
    finally:
        tracemalloc.stop()


def test_longer_arrays_replace_shorter_ones() -> None:
    with scratch_arrays(8, BYTE):
        pass
    with scratch_arrays(ENTRIES, LONG) as (array,):
        array[:] = 1
        assert len(array) == ENTRIES
