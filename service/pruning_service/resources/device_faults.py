"""What an error of the device means: that it is full, or that it is lost.

A CUDA error that sticks (an illegal address, a failed assertion, a launch failure) leaves the process unable to use the
device ever again: every later call returns the same error. Such a server must not go on answering errors; it refuses
all calls so that their clients try another replica, and ends, so that whoever runs it starts it anew.

Source: the codes of https://docs.nvidia.com/cuda/cuda-runtime-api, "the process must be terminated and relaunched";
torch.AcceleratorError carries them as `error_code` (https://github.com/pytorch/pytorch/pull/152023).
"""

import asyncio
import errno
import logging
from collections.abc import Iterator
from typing import Final

import torch

from pruning_proto.reasons import Reason
from pruning_service.status import Refusal

RETRY_SECONDS: Final = 1.0

_OUT_OF_MEMORY: Final = (
    "CUDA error: out of memory",
    "CUDA out of memory",
    "DefaultCPUAllocator: can't allocate memory",
)
_ACCELERATOR_ERROR: Final[type[Exception] | None] = getattr(torch, "AcceleratorError", None)  # torch 2.8 and later
_log = logging.getLogger(__name__)


class DeviceFaults:
    """Tells whether the server's device is still of use. `lost` is set once it is not; it never recovers."""

    def __init__(self, device: torch.device) -> None:
        self.lost = asyncio.Event()
        self._device = device

    async def refusal_of(self, error: BaseException, request_id: str) -> Refusal | None:
        """Give why a call ends that met `error`, if that is the device's fault or its fullness."""
        errors = list(_with_causes(error))
        if any(_is_out_of_memory(cause) for cause in errors):
            return Refusal(
                reason=Reason.NO_ROOM,
                message=f"the memory of device {self._device} is full; try again later",
                metadata={"device": str(self._device)},
                retry_seconds=RETRY_SECONDS,
            )
        fault = next((cause for cause in errors if _is_of_accelerator(cause)), None)
        if fault is None or not (self.lost.is_set() or await asyncio.to_thread(_is_lost)):
            return None
        if not self.lost.is_set():
            _log.critical("request_id=%s device=%s lost: %s", request_id, self._device, str(fault).partition("\n")[0])
            self.lost.set()
        return self.gone()

    def gone(self) -> Refusal:
        """Give why calls end once the device is lost."""
        return Refusal(
            reason=Reason.SHUTTING_DOWN,
            message=f"the server's device {self._device} failed and the server ends; send the call again",
            metadata={"device": str(self._device)},
            retry_seconds=RETRY_SECONDS,
        )


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from: the engine tells what an installed method raises in its own words."""
    while error is not None:
        yield error
        error = error.__cause__


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM  # of mmap
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def _is_of_accelerator(error: BaseException) -> bool:
    if _ACCELERATOR_ERROR is not None and isinstance(error, _ACCELERATOR_ERROR):
        return True
    return isinstance(error, RuntimeError) and str(error).startswith("CUDA error")


def _is_lost() -> bool:
    """Whether CUDA still fails after it failed once: that is what tells an error that sticks from one that does not.

    Where this process never began to use CUDA there is nothing to ask, and the error is believed.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
