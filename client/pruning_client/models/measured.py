"""A model read once for a page: shapes, zeros, how |w| are distributed where numpy is installed, and its history."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import prod
from os import PathLike
from typing import Any

from pruning_client.models.history import history_of
from pruning_client.models.lanes import count_zeros, has_zero
from pruning_client.models.magnitudes_value import Magnitudes
from pruning_client.models.model_tensors import ModelTensor, open_model
from pruning_proto.names import MASK_BITS


@dataclass(frozen=True, slots=True)
class MeasuredTensor:
    """A tensor of a file. `zeros` is None if its dtype has none; `magnitudes` if they are not known."""

    dtype: str
    shape: tuple[int, ...]
    zeros: int | None
    magnitudes: Magnitudes | None

    @property
    def entries(self) -> int:
        """The number of its entries."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """The tensors of a model by name, the bytes of its files, what was done to it, and whether |w| were looked at."""

    tensors: Mapping[str, MeasuredTensor]
    bytes: int
    history: tuple[Mapping[str, Any], ...]
    has_magnitudes: bool


def measure(path: str | PathLike[str]) -> MeasuredModel:
    """Read a file, the shards of an index, or the weights in the folder of a model or pipeline.

    Raises: OSError. CheckpointError.
    """
    model = open_model(path)
    has_numpy = find_spec("numpy") is not None
    return MeasuredModel(
        tensors={name: _measured(tensor, has_numpy=has_numpy) for name, tensor in model.tensors.items()},
        bytes=model.bytes,
        history=history_of(model.metadata),
        has_magnitudes=has_numpy,
    )


def _measured(tensor: ModelTensor, *, has_numpy: bool) -> MeasuredTensor:
    distribution = _magnitudes(tensor) if has_numpy else None
    if distribution is not None:
        return MeasuredTensor(tensor.dtype, tensor.shape, distribution.zeros, distribution)
    if tensor.name.endswith(MASK_BITS) or not has_zero(tensor.dtype):
        return MeasuredTensor(tensor.dtype, tensor.shape, None, None)
    left_out, pieces = tensor.stored()
    zeros = left_out + sum(count_zeros(tensor.dtype, piece) or 0 for piece in pieces)
    return MeasuredTensor(tensor.dtype, tensor.shape, zeros, None)


def _magnitudes(tensor: ModelTensor) -> Magnitudes | None:
    from pruning_client.models.magnitudes import DISTRIBUTED, magnitudes  # noqa: PLC0415 - numpy, if it is installed

    if tensor.dtype not in DISTRIBUTED:
        return None
    left_out, pieces = tensor.stored()
    found = magnitudes(tensor.dtype, pieces)
    return replace(found, zeros=found.zeros + left_out)
