"""Engine work off the event loop: calls take turns on the server's device, a few pieces of a tensor at a time.

A call has a thread while the engine works for it, but only the thread whose turn it is computes. So a small model is
answered in milliseconds while a large one is pruned, and a call that is cancelled ends at the next piece.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

import torch

from pruning_engine import piece_buffers
from pruning_engine.pauses import pausing
from pruning_service.off_loop import finished
from pruning_service.turns import Turns

Result = TypeVar("Result")

THREADS: Final = 256
"""Calls that the engine works for at the same time; more wait, first come, first served."""


class DeviceError(ValueError):
    """The device asked for is not there."""


class _AbandonedError(Exception):
    """Nobody waits for the result any more."""


class Worker:
    """The threads that compute on one device, one at a time."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._turns = Turns()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"worker-{device}")

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do `work`, taking turns with others.

        A caller that is cancelled waits until the piece under way is done: until then its memory is in use.
        """
        abandoned = threading.Event()
        job = self._threads.submit(self._carry_out, work, abandoned)
        return await finished(asyncio.wrap_future(job), give_up=abandoned.set)

    def close(self) -> None:
        """End the threads after what has begun."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _carry_out(self, work: Callable[[], Result], abandoned: threading.Event) -> Result:
        self._turns.take()
        try:
            with pausing(partial(self._pause, abandoned)):
                self._look(abandoned)
                return work()
        finally:
            piece_buffers.give_back()
            self._turns.give()

    def _pause(self, abandoned: threading.Event) -> None:
        if self._turns.is_wanted:
            piece_buffers.give_back()
            self._turns.give()
            self._turns.take()
        self._look(abandoned)

    @staticmethod
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
