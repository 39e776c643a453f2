"""When Python looks for garbage in cycles: between calls, not in the middle of one.

A full collection walks all live objects while nothing else runs: 70 ms for what is imported, and 200 ms beside a
header of 100,000 tensors, in which the server answers nobody, not even health probes. So imported objects are left out
for good, and full collections wait for a better moment. Young objects are collected at once, a few thousand at a time.
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable
from typing import Final

CHECK_SECONDS: Final = 1.0
FEW_TENSORS: Final = 10_000
"""Beside this many, a full collection takes 20 ms."""

_PATIENCE_SECONDS: Final = (1.0, 60.0, 600.0)  # while nothing runs; while little does; while much does
_NEVER: Final = 1_000_000_000  # collections of younger objects before a full one


@contextlib.asynccontextmanager
async def collect_between_calls(count_tensors: Callable[[], int]) -> AsyncIterator[None]:
    """Collect garbage at good moments while inside; `count_tensors` returns the tensors of all calls under way."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(thresholds[0], thresholds[1], _NEVER)
    collecting = asyncio.create_task(_collect(count_tensors))
    try:
        yield
    finally:
        collecting.cancel()
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def _collect(count_tensors: Callable[[], int]) -> None:
    waited = 0.0
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        waited += CHECK_SECONDS
        if waited >= _patience(count_tensors()) and gc.get_count()[1]:  # else hardly anything was made since
            gc.collect()
            waited = 0.0


def _patience(tensors: int) -> float:
    nothing, little, much = _PATIENCE_SECONDS
    if not tensors:
        return nothing
    return little if tensors <= FEW_TENSORS else much
