"""Wanda's metric: small weights on weak inputs are the least important.

Source: Sun, Liu, Bair, Kolter, "A Simple and Effective Pruning Approach for Large Language Models", 2023,
arXiv:2306.11695, section 3: the score of a weight is |W_ij| * ||X_j||_2, compared within each row of W. The norms of
the inputs come as an auxiliary tensor, so that the metric needs no forward pass here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, NoReturn

import numpy as np

from pruning_engine.checkpoints.parameters import AuxiliaryOf, TensorDescription
from pruning_engine.errors import CheckpointError, MismatchError, Reason
from pruning_engine.kernels.backend import Candidates
from pruning_engine.kernels.channel_layout import ChannelLayout, channel_layout
from pruning_engine.kernels.cpu.arrays import numbers_of
from pruning_engine.kernels.magnitude_keys import domain_of
from pruning_engine.kernels.products import factor_bytes
from pruning_engine.scores.parameters import ArrivedParameter, DescribedParameter
from pruning_engine.scores.score import Score, ScoringContext
from pruning_proto.names import IN_NORM

FLOATS: Final[Mapping[str, type[np.floating[Any]]]] = MappingProxyType({"F32": np.float32, "F64": np.float64})
_LEAST_DIMS: Final = 2

DEFAULT_DIM: Final = 1
"""The dim of the input channels of Linear and Conv layers."""


@dataclass(frozen=True, slots=True)
class WeightedMagnitude(Score):
    """|w| times `w:in_norm`, one number per input channel; entries of one output channel compete with each other.

    `dim`: the dim of the input channels, 1 for Linear and Conv layers; negative dims count from the last. The output
    channels are along dim 0, or along dim 1 if the input channels are along dim 0. Products are computed in fp32, or
    in fp64 for fp64 and integer weights and for FP8 weights with a scale.
    """

    field: ClassVar[str] = "weighted_magnitude"
    ranks: ClassVar[bool] = True
    takes_scope: ClassVar[bool] = False
    compares_within: ClassVar[str] = "an output channel of "
    ranks_channels: ClassVar[bool] = False
    auxiliary: ClassVar[tuple[str, ...]] = (IN_NORM,)
    missing_hint: ClassVar[str] = "one norm per input channel, by which weighted_magnitude multiplies"

    dim: int = DEFAULT_DIM

    @property
    def input_dim(self) -> int | None:
        """Its dim, unless it is the default: requests before `Rule.input_dim` say it here."""
        return None if self.dim == DEFAULT_DIM else self.dim

    @property
    def default_input_dim(self) -> int:
        """1, as in Linear and Conv layers."""
        return DEFAULT_DIM

    def check_parameter(self, name: str, weight: TensorDescription, auxiliary: AuxiliaryOf, path: str) -> None:
        """Refuse a tensor without this dim, and norms of another length. Raises: MismatchError naming the tensor."""
        Score.check_parameter(self, name, weight, auxiliary, path)
        field, dims, shape = f"{path}.score.{self.field}.dim", len(weight.shape), list(weight.shape)
        if dims < _LEAST_DIMS or not -dims <= self.dim < dims:
            allowed = f"{-dims} to {dims - 1}" if dims >= _LEAST_DIMS else "none: input channels need 2 dims or more"
            raise MismatchError(
                Reason.DIM_OUT_OF_RANGE,
                f"{field}: tensor {name!r} of shape {shape} has no input channels along dim {self.dim}; allowed "
                f"dims: {allowed}",
                field=field,
                tensor=name,
            )
        norms, channels = auxiliary[IN_NORM], weight.shape[self.dim]
        if norms.shape != (channels,):
            fitting = [dim for dim, size in enumerate(weight.shape) if norms.shape == (size,)]
            hint = f"set dim to {' or '.join(map(str, fitting))}, or send" if fitting else "send"
            raise MismatchError(
                Reason.SHAPE_MISMATCH,
                f"{field}: tensor {name!r} of shape {shape} has {channels:,} input channels along dim {self.dim}, but "
                f"{norms.name!r} has shape {list(norms.shape)}; {hint} one norm per input channel",
                field=field,
                tensor=norms.name,
            )

    def compared(self, shape: tuple[int, ...]) -> ChannelLayout:
        """Return the output channels."""
        return channel_layout(shape, 1 if self.dim % len(shape) == 0 else 0)

    def domain(self, parameters: Sequence[DescribedParameter]) -> str:
        """Return the dtype of the products: F32; F64 for fp64 and integer weights, and for FP8 weights with a scale."""
        return domain_of({"F32", *(parameter.value_dtype for parameter in parameters)})

    def candidates(self, parameter: ArrivedParameter, context: ScoringContext) -> Candidates:
        """Return the unpruned entries by their products.

        Raises: CheckpointError for a norm that is not a finite number from 0.
        """
        norms = numbers_of(parameter.auxiliary(IN_NORM).host(), FLOATS[context.domain])
        wrong = np.flatnonzero(~(np.isfinite(norms) & (norms >= 0)))
        if len(wrong):
            name = parameter.planned.auxiliary[IN_NORM].name
            raise CheckpointError(
                Reason.INVALID_AUXILIARY,
                f"auxiliary tensor {name!r} holds {norms[wrong[0]]} at position {wrong[0]}; norms must be finite "
                f"numbers from 0 in {context.domain}",
                tensor=name,
            )
        layout = channel_layout(parameter.planned.shape, self.dim)
        return context.backend.products(parameter.values, norms, layout, context.domain, parameter.mask)

    def ranking_bytes(self, shape: tuple[int, ...]) -> int:
        """Return the bytes of the factors, and of the flags of entries whose output channels are not contiguous."""
        layout = channel_layout(shape, self.dim)
        return factor_bytes(layout) + (layout.entries if self.compared(shape).outer > 1 else 0)

    def refuse_nan(self, parameter: DescribedParameter, position: int) -> NoReturn:
        """Refuse NaN among the products. Raises: CheckpointError."""
        raise CheckpointError(
            Reason.NAN_WEIGHTS,
            f"tensor {parameter.weight!r} holds NaN, or an infinity whose norm is 0, among the entries that "
            f"rules[{position}] ranks; NaN has no rank",
            tensor=parameter.weight,
        )
