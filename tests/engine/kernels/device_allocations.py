"""What the backend of devices allocates, counted on a machine without one: its operations run on CPU tensors.

The border between host and device is drawn where it is with a GPU: what is loaded is a copy on the device, so is an
array of numpy's that an operation reads, and what goes to the host is a copy there. The workspace inside of one
operation, such as a sort, is not seen.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pruning_engine.kernels.backend import AnyBuffer
from pruning_engine.kernels.cuda.backend import TorchBackend
from pruning_engine.torch_tensors import DeviceBuffer, to_tensor


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The storages that are alive on the device, and the most bytes that they had together: `peak_bytes`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self._is_on_host = False
        self._device: dict[int, tuple[StorageWeakRef, int]] = {}
        self._host: dict[int, tuple[StorageWeakRef, int]] = {}

    @contextmanager
    def on_host(self) -> Iterator[None]:
        """What is seen for the first time inside is in host memory."""
        before, self._is_on_host = self._is_on_host, True
        try:
            yield
        finally:
            self._is_on_host = before

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation, and count what it reads and returns."""
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, result)):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor.untyped_storage())
        self._device = _alive(self._device)
        self._host = _alive(self._host)
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self._device.values()))
        return result

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in _alive(self._device) and key not in _alive(self._host):
            reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
            (self._host if self._is_on_host else self._device)[key] = reference, storage.nbytes()


class _CopiesToHost(TorchFunctionMode):
    """Makes `Tensor.cpu` a copy, as it is with a device."""

    def __init__(self, allocations: Allocations) -> None:
        super().__init__()
        self._allocations = allocations

    def __torch_function__(
        self, function: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is torch.Tensor.cpu:
            return _host_copy(self._allocations, args[0])
        return function(*args, **(kwargs or {}))


class CountedBackend(TorchBackend):
    """The backend of devices on CPU tensors, which copies what it loads, and what it hands back."""

    def __init__(self, allocations: Allocations, piece_entries: int) -> None:
        super().__init__("cpu", piece_entries)
        self._allocations = allocations

    def load(self, tensor: AnyBuffer) -> DeviceBuffer:
        """Return a copy."""
        with self._allocations.on_host():
            flat = to_tensor(tensor).reshape(-1).view(-1)  # an operation, so that it is seen where it is
        return DeviceBuffer(flat.clone())

    def copy(self, flat: DeviceBuffer, out: AnyBuffer) -> None:
        """Write to host memory."""
        with self._allocations.on_host():
            super().copy(flat, out)


@contextmanager
def counted(piece_entries: int) -> Iterator[tuple[CountedBackend, Allocations]]:
    """Yield a backend, and what it allocates while inside."""
    allocations = Allocations()
    with allocations, _CopiesToHost(allocations):
        yield CountedBackend(allocations, piece_entries), allocations


def _host_copy(allocations: Allocations, tensor: torch.Tensor) -> torch.Tensor:
    with allocations.on_host():
        return tensor.clone()


def _alive(found: dict[int, tuple[StorageWeakRef, int]]) -> dict[int, tuple[StorageWeakRef, int]]:
    return {key: entry for key, entry in found.items() if not entry[0].expired()}  # type: ignore[no-untyped-call]
