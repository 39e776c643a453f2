"""Engine work off the event loop: calls take turns on the server's device, a few pieces of a tensor at a time.

A call has a thread while the engine works for it, but only the threads whose turn it is compute: one of the calls with
little to do, and one of the others. So a small model is answered in milliseconds while a large one is pruned. It does
not wait for the large one's piece: on a busy machine that takes far longer than it computes. What takes no longer than
waking a thread is done on the event loop. A call that is cancelled ends at the next piece, and an installed method at
the next instruction of Python.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final, TypeVar

from pruning_engine.runtime.interruption import InterruptedWorkError, Interruption, interruptible
from pruning_engine.runtime.yield_points import yielding
from pruning_proto.limits import MIB
from pruning_service.resources.devices import is_gpu
from pruning_service.resources.thread_pool import ThreadPool
from pruning_service.resources.threads import finished
from pruning_service.resources.turns import Turns

Result = TypeVar("Result")

THREADS: Final = 256
"""Calls that the engine works for at the same time; more wait, first come, first served."""

LIGHT_BYTES: Final = 256 * 1024
"""What the engine processes in a few hundred microseconds: two threads take as long to wake up."""

SMALL_BYTES: Final = 16 * MIB
"""What the engine processes in a few milliseconds."""


class _AbandonedError(Exception):
    """Nobody waits for the result any more."""


class EngineWorker:
    """The threads that compute on one device, one at a time of each kind."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._turns = Turns()
        self._turns_of_small = Turns()
        self._threads = ThreadPool(THREADS, f"worker-{device}")

    @property
    def is_gpu(self) -> bool:
        """Whether the device has memory of its own."""
        return is_gpu(self.device)

    async def run(self, work: Callable[[], Result], cost_bytes: float = inf) -> Result:
        """Do `work`, taking turns with others. `cost_bytes`: the most that the engine processes for it.

        A caller that is cancelled waits until the piece under way is done: until then its memory is in use.
        """
        if cost_bytes <= LIGHT_BYTES and not self.is_gpu:
            return work()
        abandoned, interruption = threading.Event(), Interruption()
        turns = self._turns_of_small if cost_bytes <= SMALL_BYTES else self._turns
        interruptible_work = partial(_run_interruptibly, work, interruption)
        job = self._threads.submit(partial(_run_in_turns, interruptible_work, turns, abandoned), abandoned)

        def abandon() -> None:
            abandoned.set()
            interruption.interrupt()

        return await finished(asyncio.wrap_future(job), on_cancel=abandon)

    def end_idle_threads(self) -> None:
        """Have the threads end, each once it has nothing to do; work to come begins new ones."""
        self._threads.end_idle_threads()

    def close(self) -> None:
        """End the threads once what has begun is done."""
        self._threads.close()


def _run_interruptibly(work: Callable[[], Result], interruption: Interruption) -> Result:
    try:
        with interruptible(interruption):
            return work()
    except InterruptedWorkError as error:
        raise _AbandonedError from error


def _run_in_turns(work: Callable[[], Result], turns: Turns, abandoned: threading.Event) -> Result:
    turns.take()
    try:
        with yielding(partial(_pause, turns, abandoned)):
            _stop_if_abandoned(abandoned)
            return work()
    finally:
        turns.release()


def _pause(turns: Turns, abandoned: threading.Event) -> None:
    if turns.is_wanted:
        turns.pass_on()
    _stop_if_abandoned(abandoned)


def _stop_if_abandoned(abandoned: threading.Event) -> None:
    if abandoned.is_set():
        raise _AbandonedError
