"""Engine work off the event loop: one thread for the server's device, so that calls take turns on it.

The turn is one parameter of a model: a small model waits for a tensor of a large one, not for all of it. The last
parameter of a rule of global scope brings the whole selection along, in one turn.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import torch

Result = TypeVar("Result")


class DeviceError(ValueError):
    """The device asked for is not there."""


class Worker:
    """The thread that computes on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"worker-{device}")

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do `work` on the thread.

        A caller that is cancelled leaves the queue, or waits for what has begun: until then its memory is in use.
        """
        job = self._thread.submit(work)
        try:
            return await asyncio.shield(asyncio.wrap_future(job))
        except asyncio.CancelledError:
            if not job.cancel():
                await _ended(job)
            raise

    def close(self) -> None:
        """End the thread after what has begun."""
        self._thread.shutdown(wait=True, cancel_futures=True)


async def _ended(job: Future[Result]) -> None:
    ended = asyncio.wrap_future(job)
    while not ended.done():
        with suppress(asyncio.CancelledError):  # however often: the job holds memory
            await asyncio.wait({ended})


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
