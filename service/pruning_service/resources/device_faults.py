"""What an error of the device means: that it is full, or that it is lost.

A CUDA error that sticks (an illegal address, a failed assertion, a launch failure) leaves the process unable to use the
device ever again: every later call returns the same error. Such a server must not go on answering errors; it refuses
all calls so that their clients try another replica, and exits, so that its supervisor starts it anew.

Errors of torch are looked for only if something has imported torch: without it, none of an error's causes is one.

Source: the codes of https://docs.nvidia.com/cuda/cuda-runtime-api, "the process must be terminated and relaunched";
torch.AcceleratorError carries them as `error_code` (https://github.com/pytorch/pytorch/pull/152023).
"""

import asyncio
import errno
import logging
import sys
from collections.abc import Iterator
from typing import Any, Final

from pruning_proto.reasons import Reason
from pruning_service.status import Refusal

RETRY_SECONDS: Final = 1.0

_OUT_OF_MEMORY: Final = (
    "CUDA error: out of memory",
    "CUDA out of memory",
    "DefaultCPUAllocator: can't allocate memory",
)
_log = logging.getLogger(__name__)


class DeviceFaults:
    """Decides whether the server's device can still be used. `lost` is set once it cannot; it never recovers."""

    def __init__(self, device: str) -> None:
        self.lost = asyncio.Event()
        self._device = device

    async def refusal_of(self, error: BaseException, request_id: str) -> Refusal | None:
        """Return why a call ends that met `error`, if the device is at fault or full; else None."""
        errors = list(_with_causes(error))
        if any(_is_out_of_memory(cause) for cause in errors):
            return Refusal(
                reason=Reason.NO_ROOM,
                message=f"the memory of device {self._device} is full; try again later",
                metadata={"device": self._device},
                retry_seconds=RETRY_SECONDS,
            )
        fault = next((cause for cause in errors if _is_of_accelerator(cause)), None)
        if fault is None or not (self.lost.is_set() or await asyncio.to_thread(_is_lost)):
            return None
        if not self.lost.is_set():
            _log.critical("request_id=%s device=%s lost: %s", request_id, self._device, str(fault).partition("\n")[0])
            self.lost.set()
        return self.device_lost()

    def device_lost(self) -> Refusal:
        """Return why calls end once the device is lost."""
        return Refusal(
            reason=Reason.SHUTTING_DOWN,
            message=f"the server's device {self._device} failed and the server ends; send the call again",
            metadata={"device": self._device},
            retry_seconds=RETRY_SECONDS,
        )


def _torch() -> Any:
    """torch, if it is loaded; else None."""
    return sys.modules.get("torch")


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes: the engine reports what an installed method raises in its own words."""
    while error is not None:
        yield error
        error = error.__cause__


def _is_out_of_memory(error: BaseException) -> bool:
    torch = _torch()
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM  # of mmap
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def _is_of_accelerator(error: BaseException) -> bool:
    kind = getattr(_torch(), "AcceleratorError", None)  # torch 2.8 and later
    if kind is not None and isinstance(error, kind):
        return True
    return isinstance(error, RuntimeError) and str(error).startswith("CUDA error")


def _is_lost() -> bool:
    """Whether CUDA still fails after it failed once: so an error that sticks differs from one that does not.

    Where this process never began to use CUDA there is nothing to ask, and the error is believed.
    """
    torch = _torch()
    if torch is None or not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
