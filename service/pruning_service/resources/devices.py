"""Which device the engine computes on, found without importing torch unless there may be a GPU."""

import importlib.util
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pruning_engine.kernels.compiled.library import set_kernels
from pruning_proto.limits import MIB

CPU: Final = "cpu"

_DRIVER_FILES: Final = ("nvidiactl", "nvidia0", "nvhost-gpu", "dxg", "kfd")
"""What drivers put into /dev: of NVIDIA, of its Jetson boards, of WSL, of AMD. Others need `cuda` written out."""

_DEV: Final = Path("/dev")

_LEAST_SPARE_BYTES: Final = 1024 * MIB


class DeviceError(ValueError):
    """The device that was asked for is not available."""


def find_device(name: str) -> str:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:i`: `cpu`, or `cuda:` and a number.

    Raises: DeviceError if it is not available.
    """
    kind, _, index = name.partition(":")
    if name != "auto" and (kind not in (CPU, "cuda") or (index and not (kind == "cuda" and index.isdecimal()))):
        raise DeviceError(f"PRUNING_DEVICE is auto, cpu, cuda or cuda:<number>, got {name!r}")
    if kind == CPU or (name == "auto" and not may_have_gpu()):
        return CPU
    if importlib.util.find_spec("torch") is None:
        if name == "auto":
            return CPU
        raise DeviceError(
            f"PRUNING_DEVICE is {name!r}, and torch, which computes on GPUs, is not installed: "
            "pip install 'pruning-service[service]', or set PRUNING_DEVICE=cpu"
        )
    return _cuda(name, int(index or 0))


def use_kernels(name: str) -> None:
    """Let the engine compute with some kernels, or with `auto` with the fastest.

    Raises: DeviceError if this machine does not have them.
    """
    try:
        set_kernels(name)
    except ValueError as error:
        raise DeviceError(f"PRUNING_KERNELS: {error}") from None


def is_gpu(device: str) -> bool:
    """Whether a device that `find_device` returned is a GPU."""
    return device != CPU


def may_have_gpu(dev: Path = _DEV) -> bool:
    """Whether a GPU's driver is loaded here, judging by its files; on systems without such files, True."""
    return not sys.platform.startswith("linux") or any((dev / name).exists() for name in _DRIVER_FILES)


def held_bytes(gpu: str) -> int:
    """Return the bytes of a GPU's memory that this process holds."""
    import torch  # noqa: PLC0415 - loaded already, to find the GPU

    return torch.cuda.memory_reserved(gpu)


def capacity_bytes(gpu: str) -> int:
    """Return the bytes of memory that a GPU has."""
    import torch  # noqa: PLC0415 - loaded already, to find the GPU

    return int(torch.cuda.get_device_properties(gpu).total_memory)


def usable_bytes(gpu: str) -> int:
    """Return what calls may reserve of a GPU's memory: what is free now, less a tenth, and 1 GiB at least.

    What is left out is for fragments of memory that fit nothing, and for what libraries load later.
    """
    import torch  # noqa: PLC0415 - loaded already, to find the GPU

    return share_of(torch.cuda.mem_get_info(gpu)[0])


def share_of(free_bytes: int) -> int:
    """Return the part of a device's free memory that calls may reserve."""
    return max(0, free_bytes - max(free_bytes // 10, _LEAST_SPARE_BYTES))


def pinned_memory(size: int) -> npt.NDArray[np.uint8]:
    """Return page-locked memory of the host, from which a GPU copies while this process goes on."""
    import torch  # noqa: PLC0415 - loaded already, to find the GPU

    array: npt.NDArray[Any] = torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()
    return array  # torch keeps and reuses this memory itself


def _cuda(name: str, index: int) -> str:
    import torch  # noqa: PLC0415 - takes seconds, for GPUs only

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index < count:
        return f"cuda:{index}"
    if name == "auto":
        return CPU
    raise DeviceError(f"PRUNING_DEVICE is {name!r}, but this machine offers {count} CUDA devices")
