"""Whole slices of a tensor along one dim."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Final

from pruning_engine.checkpoints.parameters import TensorDescription
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.norm import NamedNorm
from pruning_engine.scores.score import Score

CHANNEL_BYTES: Final = 40
"""What each channel that competes takes: its norm and its position, and both again while the least are chosen."""

_LEAST_DIMS: Final = 2
_NUCLEAR_DIMS: Final = 3
_NUCLEAR_SIDE: Final = 1024
_NUCLEAR_PRODUCTS: Final = _NUCLEAR_SIDE**3
"""Singular values of a matrix cost rows x columns x the lesser of both. This many take about a second, during which no
other call has a turn and a cancelled call does not end."""


@dataclass(frozen=True, slots=True)
class Channels(Granularity):
    """Whole slices along `dim` are pruned: torch's "structured". Negative dims count from the last."""

    field: ClassVar[str] = "channels"
    takes_nuclear_norm: ClassVar[bool] = True

    dim: int = 0

    def check_parameter(self, score: Score, name: str, weight: TensorDescription, path: str) -> None:
        """Refuse a tensor without this dim, or with slices too large for a nuclear norm. Raises: MismatchError."""
        dims = len(weight.shape)
        if dims < _LEAST_DIMS or not -dims <= self.dim < dims:
            allowed = f"{-dims} to {dims - 1}" if dims >= _LEAST_DIMS else "none: channels need 2 dims or more"
            raise MismatchError(
                Reason.DIM_OUT_OF_RANGE,
                f"{path}.granularity: tensor {name!r} of shape {list(weight.shape)} has no channels along dim "
                f"{self.dim}; allowed dims: {allowed}",
                field=f"{path}.granularity.channels.dim",
                tensor=name,
            )
        if score.norm is NamedNorm.NUC:
            self._check_nuclear(weight, name, f"{path}.score.{score.field}.norm")

    def pieces(self, shape: tuple[int, ...]) -> int:
        """Return the number of channels; none of a tensor without entries."""
        return shape[self.dim] if prod(shape) else 0

    def ranking_bytes(self, shape: tuple[int, ...]) -> int:
        """Return the bytes of what ranks the channels."""
        return CHANNEL_BYTES * shape[self.dim]

    def _check_nuclear(self, weight: TensorDescription, name: str, path: str) -> None:
        if len(weight.shape) != _NUCLEAR_DIMS:
            raise MismatchError(
                Reason.NORM_NOT_DEFINED,
                f"{path}: the nuclear norm is of matrices, so of tensors of 3 dims; tensor {name!r} has shape "
                f"{list(weight.shape)}",
                field=path,
                tensor=name,
            )
        rows, columns = (size for at, size in enumerate(weight.shape) if at != self.dim % _NUCLEAR_DIMS)
        if rows * columns * min(rows, columns) > _NUCLEAR_PRODUCTS:
            raise MismatchError(
                Reason.NORM_NOT_DEFINED,
                f"{path}: the nuclear norm is offered for matrices up to {_NUCLEAR_SIDE} x {_NUCLEAR_SIDE} (rows times "
                f"columns times the lesser of both at most {_NUCLEAR_PRODUCTS:,}); the channels of tensor {name!r} "
                f"along dim {self.dim} are {rows} x {columns}. Use another norm, such as 2, for this tensor",
                field=path,
                tensor=name,
            )
