"""The L2 norm of each input channel, from whichever statistic a parameter has."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

from pruning_engine.buffer import Buffer
from pruning_engine.checkpoints.statistics import Alternatives
from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.kernels.backend import Floats
from pruning_engine.kernels.channel_layout import ChannelLayout
from pruning_engine.kernels.cpu.arrays import numbers_of
from pruning_engine.kernels.input_matrix import InputLayout
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_proto.names import IN_GRAM, IN_NORM, IN_SUM2, INPUTS

NORMS: Final[Alternatives] = (IN_NORM, IN_SUM2, IN_GRAM, INPUTS)
"""The statistics that say norms; the first that a parameter has is used."""

_ROWS: Final = 256
"""Rows of inputs that are squared at a time."""

_Shape: TypeAlias = tuple[int, ...]


def input_norms(parameter: ArrivedParameter, suffix: str) -> Floats:
    """Return the norms that a statistic says, in fp64 and flat: of each input, and of each expert if it has its own.

    Raises: CheckpointError for a number that is not finite or is negative.
    """
    spec = parameter.planned.auxiliary[suffix]
    tensor: Buffer = parameter.auxiliary(suffix).host()
    numbers = _READERS[suffix](Buffer(tensor.dtype, tensor.shape, tensor.array.reshape(-1)), spec.shape)
    wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0)))
    if len(wrong):
        raise CheckpointError(
            Reason.INVALID_AUXILIARY,
            f"auxiliary tensor {spec.name!r} gives {numbers[wrong[0]]} at position {wrong[0]}; norms and sums of "
            "squares must be finite numbers from 0",
            tensor=spec.name,
        )
    return numbers if suffix == IN_NORM else np.sqrt(numbers)


def norm_layout(layout: InputLayout, norms: int) -> ChannelLayout:
    """Return which entries of a weight are multiplied by which of a number of norms; see `Backend.products`."""
    channels = layout.columns
    if layout.is_transposed:
        return ChannelLayout(layout.matrices, channels, layout.rows, ())
    positions = max(1, layout.positions) if norms == layout.input_channels else 1
    return ChannelLayout(layout.matrices * layout.rows, channels // positions, positions, ())


def _as_they_are(tensor: Buffer, shape: _Shape) -> Floats:  # noqa: ARG001 - one signature
    return numbers_of(tensor, np.float64)


def _diagonals(tensor: Buffer, shape: _Shape) -> Floats:
    channels = shape[-1]
    matrices = tensor.array.reshape(-1, channels * channels)
    diagonals = [matrix[:: channels + 1] for matrix in matrices]
    return np.concatenate([numbers_of(Buffer(tensor.dtype, (channels,), each), np.float64) for each in diagonals])


def _sums_of_squares(tensor: Buffer, shape: _Shape) -> Floats:
    *_, tokens, channels = shape
    sums = []
    for inputs in tensor.array.reshape(-1, tokens, channels):
        total = np.zeros(channels)
        for begin in range(0, tokens, _ROWS):
            rows = np.ascontiguousarray(inputs[begin : begin + _ROWS])
            numbers = numbers_of(Buffer(tensor.dtype, (rows.size,), rows.reshape(-1)), np.float64)
            with np.errstate(over="ignore"):
                total += (numbers * numbers).reshape(rows.shape).sum(axis=0)
        sums.append(total)
    return np.concatenate(sums)


_READERS: Final[Mapping[str, Callable[[Buffer, _Shape], Floats]]] = MappingProxyType(
    {IN_NORM: _as_they_are, IN_SUM2: _as_they_are, IN_GRAM: _diagonals, INPUTS: _sums_of_squares}
)
