"""Engine work off the event loop: calls take turns on the server's device, a few pieces of a tensor at a time.

A call has a thread while the engine works for it, but only the threads whose turn it is compute: one of those with
little to do, and one of the others. So a small model is answered in milliseconds while a large one is pruned. It does
not wait for the large one's piece: on a busy machine that takes far longer than it computes. What takes no longer than
waking a thread is done on the event loop. A call that is cancelled ends at the next piece.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf
from typing import Final, TypeVar

import torch

from pruning_engine.runtime import scratch_buffers as piece_buffers
from pruning_engine.runtime.yield_points import yielding
from pruning_proto.limits import MIB
from pruning_service.resources.threads import finished
from pruning_service.resources.turns import Turns

Result = TypeVar("Result")

THREADS: Final = 256
"""Calls that the engine works for at the same time; more wait, first come, first served."""

LIGHT_BYTES: Final = 64 * 1024
"""What the engine goes through in a few hundred microseconds: a thread takes as long to wake up."""

SMALL_BYTES: Final = 16 * MIB
"""What it goes through in a few milliseconds."""


class DeviceError(ValueError):
    """The device asked for is not there."""


class _AbandonedError(Exception):
    """Nobody waits for the result any more."""


class Worker:
    """The threads that compute on one device, one at a time of each kind."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._turns = Turns()
        self._turns_of_small = Turns()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"worker-{device}")

    async def run(self, work: Callable[[], Result], effort_bytes: float = inf) -> Result:
        """Do `work`, taking turns with others. `effort_bytes`: the most that the engine goes through for it.

        A caller that is cancelled waits until the piece under way is done: until then its memory is in use.
        """
        if effort_bytes <= LIGHT_BYTES and self.device.type == "cpu":
            return _at_once(work)
        abandoned = threading.Event()
        turns = self._turns_of_small if effort_bytes <= SMALL_BYTES else self._turns
        job = self._threads.submit(_carry_out, work, turns, abandoned)
        return await finished(asyncio.wrap_future(job), give_up=abandoned.set)

    def close(self) -> None:
        """End the threads after what has begun."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def _at_once(work: Callable[[], Result]) -> Result:
    try:
        return work()
    finally:
        piece_buffers.give_back()


def _carry_out(work: Callable[[], Result], turns: Turns, abandoned: threading.Event) -> Result:
    turns.take()
    try:
        with yielding(partial(_pause, turns, abandoned)):
            _look(abandoned)
            return work()
    finally:
        piece_buffers.give_back()
        turns.give()


def _pause(turns: Turns, abandoned: threading.Event) -> None:
    if turns.is_wanted:
        piece_buffers.give_back()
        turns.give()
        turns.take()
    _look(abandoned)


def _look(abandoned: threading.Event) -> None:
    if abandoned.is_set():
        raise _AbandonedError


def find_device(name: str) -> torch.device:
    """Give the device for `auto`, `cpu`, `cuda` or `cuda:i`.

    Raises: DeviceError if it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not (kind == "cuda" and index.isdecimal())):
        raise DeviceError(f"PRUNING_DEVICE is auto, cpu, cuda or cuda:<number>, got {name!r}")
    if kind == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(index or 0) >= count:
        raise DeviceError(f"PRUNING_DEVICE is {name!r}, but this machine offers {count} CUDA devices")
    return torch.device("cuda", int(index or 0))
