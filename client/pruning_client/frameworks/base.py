"""The interface of an adaptor to a tensor library, and the adaptor of a tensor.

`frameworks.torch` and `frameworks.numpy` are the adaptors, with the same verbs. Each is imported when the first tensor
of its library is met: a library that was never imported has no tensors.
"""

import importlib.util
import sys
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pruning_client.frameworks.names_on_disk import in_module
from pruning_proto.safetensors.header import TensorEntry


class Framework(Protocol):
    """An adaptor of one tensor library."""

    FORMAT: str
    """The value of `format` in a file's metadata, as loaders expect it."""

    def describe(self, name: str, tensor: Any) -> tuple[str, tuple[int, ...]]:
        """Return the dtype, by the format's name, and the shape. Raises: CheckpointError if it cannot be sent."""

    def identity(self, tensor: Any) -> Hashable:
        """Return a value that is equal for tied tensors only; None for tensors that cannot be tied."""

    def view(self, tensor: Any) -> memoryview:
        """Return the bytes in C order, little endian: a view where the tensor allows it."""

    def tensor(self, entry: TensorEntry, data: memoryview) -> Any:
        """Return a tensor over `data`, which it keeps alive.

        Raises: ImportError or CheckpointError for a dtype that the library lacks.
        """

    def check_changeable(self, name: str, tensor: Any) -> None:
        """Raise MismatchError or CheckpointError, by name, if entries cannot be changed in place, each by itself."""

    def apply_mask_(self, tensor: Any, bits: memoryview) -> None:
        """Set to +0.0 the entries whose bit is 0, in place; flat in C order, bits in little order, writable memory."""


@dataclass(frozen=True, slots=True)
class Tensors:
    """Tensors to change, by name; and `computed`, what a module computed of torch's `w_orig` and `w_mask`, by name.

    `module` is the module that has them, if it is one.
    """

    by_name: Mapping[str, Any]
    computed: Mapping[str, Any]
    module: Any = None

    def renamed(self, names: Iterable[str]) -> dict[str, str]:
        """Return the module's names of those that are names of its file."""
        return {} if self.module is None else in_module(names, self.module, self.by_name)


def framework_of(tensor: object) -> Framework | None:
    """Return the adaptor of a tensor; None if it is not a tensor of a known library."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(tensor, torch.Tensor):
        return torch_framework()
    if numpy is not None and isinstance(tensor, numpy.ndarray | numpy.generic):
        return numpy_framework()
    return None


def tensors_of(target: object) -> Tensors:
    """Return the tensors of a state dict or of a torch module. Raises: TypeError if it is neither."""
    if isinstance(target, Mapping):
        return Tensors(target, {})
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(target, torch.nn.Module):
        raise TypeError(f"masks are applied to a state dict or a torch module, got {type(target).__name__}")
    import pruning_client.frameworks.torch as adaptor  # noqa: PLC0415 - torch is imported only when asked for

    return Tensors(adaptor.tensors_of(target), adaptor.computed_weights(target), target)


def default_framework() -> Framework:
    """Return the adaptor for tensors of a file: torch's if torch is imported already, else numpy's.

    Raises: ImportError if neither is installed.
    """
    if "torch" in sys.modules:
        return torch_framework()
    if importlib.util.find_spec("numpy") is not None:
        return numpy_framework()
    raise ImportError(
        "tensors need a library: import torch or install numpy; "
        "or write the result to a file with `result.save(path)` or `Client.prune_file`, which need neither"
    )


def torch_framework() -> Framework:
    """Return torch's adaptor. Raises: ImportError if torch is not installed."""
    import pruning_client.frameworks.torch as adaptor  # noqa: PLC0415 - torch is imported only when asked for

    return adaptor


def numpy_framework() -> Framework:
    """Return numpy's adaptor. Raises: ImportError if numpy is not installed."""
    import pruning_client.frameworks.numpy as adaptor  # noqa: PLC0415 - numpy is imported only when asked for

    return adaptor
