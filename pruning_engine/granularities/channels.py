"""Whole slices of a tensor along one dim."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from pruning_engine.checkpoints.parameters import TensorDescription
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.ranking import Ranking, RankingContext
from pruning_engine.kernels import channel_norms as norms
from pruning_engine.kernels.backend import BoolArray, Floats, Values
from pruning_engine.kernels.channel_layout import ChannelLayout, channel_layout
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.kernels.random_keys import key_of
from pruning_engine.norm import NamedNorm
from pruning_engine.report import GroupReport
from pruning_engine.scope import Scope
from pruning_engine.scores.parameters import ArrivedParameter, DescribedParameter
from pruning_engine.scores.score import Score
from pruning_engine.selection.channels import RankedChannels, least_channels
from pruning_engine.selection.outcome import Outcome
from pruning_engine.selection.random_choice import random_channels

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
    takes_norm: ClassVar[bool] = True
    takes_nuclear_norm: ClassVar[bool] = True

    dim: int = 0

    def check_parameter(
        self,
        score: Score,
        name: str,
        weight: TensorDescription,
        path: str,
        input_dim: int | None = None,  # noqa: ARG002 - one signature for all
    ) -> None:
        """Refuse a tensor without this dim, or with slices too large for a nuclear norm. Raises: MismatchError."""
        dims = len(weight.shape)
        if dims < _LEAST_DIMS or not -dims <= self.dim < dims:
            allowed = f"{-dims} to {dims - 1}" if dims >= _LEAST_DIMS else "none: channels need 2 dims or more"
            raise MismatchError(
                Reason.DIM_OUT_OF_RANGE,
                f"{path}.granularity.channels.dim: tensor {name!r} of shape {list(weight.shape)} has no channels along "
                f"dim {self.dim}; allowed dims: {allowed}",
                field=f"{path}.granularity.channels.dim",
                tensor=name,
            )
        if score.norm is NamedNorm.NUC:
            self._check_nuclear(weight, name, f"{path}.score.{score.field}.norm")

    def pieces(self, parameter: DescribedParameter, scope: Scope) -> int:  # noqa: ARG002 - one signature for all
        """Return the number of channels; none of a tensor without entries."""
        return parameter.shape[self.dim] if parameter.entries else 0

    def ranking_bytes(self, score: Score, parameter: DescribedParameter, scope: Scope) -> int:  # noqa: ARG002
        """Return the bytes of what ranks the channels."""
        return score.ranking_bytes(parameter) + CHANNEL_BYTES * parameter.shape[self.dim]

    def ranking(self, context: RankingContext) -> Ranking:
        """Return a rule that prunes channels."""
        return ChannelRanking(self, context)

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


class ChannelRanking:
    """Prunes whole channels: candidates are those with an unpruned entry, by their norm or at random."""

    reports: Sequence[GroupReport] = ()

    def __init__(self, granularity: Channels, context: RankingContext) -> None:
        self._granularity = granularity
        self._context = context
        self._backend = context.backend
        self._observed: dict[str, RankedChannels] = {}

    def observe(self, parameter: ArrivedParameter) -> None:
        """Compute the norms of a parameter, while later ones still arrive."""
        layout = channel_layout(parameter.planned.shape, self._granularity.dim)
        candidates = self._backend.unpruned_channels(parameter.mask, layout)
        flat, mask = self._ranked_tensor(parameter)
        self._observed[parameter.planned.name] = RankedChannels(
            candidates=candidates,
            ranks=self._ranks(parameter, layout, candidates) if self._context.ranks_by_norm else np.empty(0),
            layout=layout,
            backend=self._backend,
            flat=flat,
            mask=mask,
        )

    def decide(self, parameters: Sequence[ArrivedParameter]) -> list[Outcome]:
        """Prune the least important channels; among equals, those of the first parameters."""
        tensors = [self._observed.pop(parameter.planned.name) for parameter in parameters]
        unpruned = sum(int(np.count_nonzero(one.candidates)) for one in tensors)
        total = sum(one.layout.channels for one in tensors)
        count = self._granularity.count_to_prune(self._context, unpruned, total)
        pruned, threshold = self._least([parameter.planned.name for parameter in parameters], tensors, count)
        return [
            Outcome(
                self._backend.spread(one.candidates & ~marks, parameter.mask, one.layout),
                is_ranked=self._context.ranks_by_norm,
                threshold=threshold,
            )
            for parameter, one, marks in zip(parameters, tensors, pruned, strict=True)
        ]

    def _least(
        self, names: Sequence[str], tensors: Sequence[RankedChannels], count: int
    ) -> tuple[list[BoolArray], float | None]:
        """Return which channels are the least important, and the largest norm among them."""
        if not self._context.ranks_by_norm:
            keys = [key_of(self._context.seed, self._context.position, name) for name in names]
            return random_channels(keys, [one.candidates for one in tensors], count), None
        least = least_channels(tensors, count, self._context.norm)
        largest = least.largest_pruned
        return least.pruned, None if largest is None else norms.norm_of(largest, self._context.norm)

    def _ranks(self, parameter: ArrivedParameter, layout: ChannelLayout, candidates: BoolArray) -> Floats:
        """Return what ranks the candidates."""
        if not layout.entries:
            return np.empty(0)
        flat, mask = self._ranked_tensor(parameter)
        ranks: Floats = self._backend.norms(flat, mask, layout, self._context.norm)[candidates]
        if np.isnan(ranks).any():
            self._context.score.refuse_nan(parameter.planned, self._context.position)
        return ranks

    def _ranked_tensor(self, parameter: ArrivedParameter) -> tuple[Values, PackedMask]:
        """Return what is ranked: pruned weights count as 0; given scores count whole, as in torch."""
        suffix = self._context.score.ranked(parameter.planned.auxiliary)
        if suffix is None:
            return parameter.values, parameter.mask
        return parameter.auxiliary(suffix), PackedMask.full(parameter.planned.entries)
