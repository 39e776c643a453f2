"""A weight as matrices of output channels by input channels, (E, R, C), in fp32 or fp64, and back.

What layers compute is W x, whatever the order in which frameworks store W. Methods that know the inputs of a layer see
it here, and nowhere else, as (matrices, outputs, inputs):

| layer | stored as | input dim | matrices |
| --- | --- | --- | --- |
| Linear | (out, in) | 1 | 1 of out x in |
| Conv | (out, in, *kernel) | 1 | 1 of out x in * kernel, as torch's unfold orders positions |
| Conv1D (GPT-2) | (in, out) | 0 | 1 of out x in |
| ConvTranspose | (in, out, *kernel) | 0 | 1 of out * kernel x in |
| stacked experts | (E, out, in) or (E, in, out) | 2 or 1 | E of out x in |
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pruning_engine.buffer import Buffer
from pruning_engine.kernels.backend import Backend, BoolArray, Values
from pruning_engine.kernels.cpu.arrays import NumberReader, pieces
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.runtime.threads import PIECE_ENTRIES

Shape: TypeAlias = tuple[int, ...]

Matrices: TypeAlias = npt.NDArray[Any]
"""An array (E, R, C)."""

_STACKED_DIMS: Final = 3


class UnfitInputDimError(Exception):
    """A tensor of this shape has no matrices whose input channels are along this dim."""


@dataclass(frozen=True, slots=True)
class InputLayout:
    """Where the matrices of a weight are: `matrices` of `rows` output channels by `columns` inputs.

    `positions`: columns of one input channel, more than 1 for the kernel of a Conv. `is_transposed`: whether inputs are
    stored before outputs.
    """

    shape: Shape
    input_dim: int
    matrices: int
    rows: int
    columns: int
    positions: int
    is_transposed: bool

    @property
    def input_channels(self) -> int:
        """The number of input channels of one matrix."""
        return self.columns // max(1, self.positions)

    @property
    def stored(self) -> tuple[int, int, int]:
        """The shape of the matrices in the order of the weight's entries."""
        sizes = (self.columns, self.rows) if self.is_transposed else (self.rows, self.columns)
        return (self.matrices, *sizes)

    def order_along(self, dim: int) -> npt.NDArray[np.int64] | None:
        """Return the columns in an order in which inputs along a dim of a Conv are consecutive; None: they are now."""
        columns = np.arange(self.columns)
        if self.positions == 1 or dim == len(self.shape) - 1:
            return None
        moved = np.moveaxis(columns.reshape(self.shape[1:]), dim - 1, -1)
        order: npt.NDArray[np.int64] = moved.reshape(-1)
        return order

    def to_matrices(self, entries: npt.NDArray[Any]) -> Matrices:
        """Return the weight's entries, of any shape in C order, as (E, R, C): a view where they are contiguous."""
        stored = entries.reshape(self.stored)
        return stored.swapaxes(1, 2) if self.is_transposed else stored

    def to_entries(self, matrices: Matrices) -> npt.NDArray[Any]:
        """Return matrices (E, R, C) as the weight's entries, flat in C order."""
        stored = matrices.swapaxes(1, 2) if self.is_transposed else matrices
        return np.ascontiguousarray(stored).reshape(-1)


def input_layout(name: str, shape: Shape, input_dim: int) -> InputLayout:
    """Return the matrices of a weight whose input channels are along `input_dim`; negative counts from the last.

    A tensor of 3 dims is one of stacked experts if its inputs are along dim 2, or if a module named `*experts` holds
    it; else it is that of a Conv.

    Raises: UnfitInputDimError.
    """
    dims = len(shape)
    if dims < 2 or not -dims <= input_dim < dims:
        raise UnfitInputDimError
    dim = input_dim % dims
    if dims == _STACKED_DIMS and dim > 0 and (dim == _STACKED_DIMS - 1 or is_of_experts(name)):
        outputs = shape[3 - dim]
        return InputLayout(shape, dim, shape[0], outputs, shape[dim], 1, is_transposed=dim == 1)
    if dim == 0:
        return InputLayout(shape, dim, 1, prod(shape[1:]), shape[0], 1, is_transposed=True)
    if dim > 1:
        raise UnfitInputDimError
    return InputLayout(shape, dim, 1, shape[0], prod(shape[1:]), prod(shape[2:]), is_transposed=False)


def is_of_experts(name: str) -> bool:
    """Whether a tensor belongs to a module named `*experts`, such as `layers.0.mlp.experts.gate_up_proj`."""
    return any(segment.endswith("experts") for segment in name.split(".")[:-1][-2:])


def computed_dtype(dtype: str) -> np.dtype[Any]:
    """Return the dtype in which new weights are computed: fp64 for fp64, else fp32."""
    return np.dtype(np.float64 if dtype == "F64" else np.float32)


def read_entries(values: Values, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return the numbers of a flat buffer or of codes with scales, in host memory, as a new flat array."""
    host = values.host()
    reader, out = NumberReader(host, dtype), np.empty(host.entries, dtype)
    with np.errstate(all="ignore"):
        for begin, end in pieces(host.entries, PIECE_ENTRIES):
            out[begin:end] = reader.read(begin, end)
    return out


def flags_of(mask: PackedMask, backend: Backend) -> BoolArray:
    """Return a mask as flat bools in host memory; True is unpruned."""
    flags: BoolArray = backend.unpack(mask).host().array.view(np.bool_)
    return flags


def mask_of(flags: BoolArray, backend: Backend) -> PackedMask:
    """Return bools of any shape, in C order, as a mask of the backend; True is unpruned."""
    flat = np.ascontiguousarray(flags).reshape(-1).view(np.uint8)
    return backend.pack(backend.load(Buffer("BOOL", (flags.size,), flat)))
