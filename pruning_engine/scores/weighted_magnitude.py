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

from pruning_engine.checkpoints.statistics import Alternatives
from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.kernels.backend import Candidates, Floats
from pruning_engine.kernels.input_matrix import InputLayout, input_layout
from pruning_engine.kernels.magnitude_keys import domain_of
from pruning_engine.kernels.products import factor_bytes
from pruning_engine.scope import Scope
from pruning_engine.scores.entries.input_norms import NORMS, input_norms, norm_layout
from pruning_engine.scores.parameters import ArrivedParameter, DescribedParameter
from pruning_engine.scores.score import Score, ScoringContext
from pruning_engine.scores.unit_inputs import UnitInputs, UnitRanks, UnitsToRank, ranked, relative_to_mean

FLOATS: Final[Mapping[str, type[np.floating[Any]]]] = MappingProxyType({"F32": np.float32, "F64": np.float64})


@dataclass(frozen=True, slots=True)
class WeightedMagnitude(Score):
    """|w| times the norm of its input channel; entries of one output channel compete, unless a scope says otherwise.

    The norms are `w:in_norm`, or come from `w:in_sum2`, the diagonal of `w:in_gram`, or `w:inputs`. `dim`: the dim of
    the input channels, as `Rule.input_dim` says it too. Products are computed in fp32, or in fp64 for fp64 and integer
    weights and for FP8 weights with a scale.

    Amounts are rounded half to even in each output channel; the authors' code prunes int(channels * amount).
    """

    field: ClassVar[str] = "weighted_magnitude"
    ranks: ClassVar[bool] = True
    default_scope: ClassVar[Scope] = Scope.OUTPUT_CHANNEL
    ranks_channels: ClassVar[bool] = False
    ranks_units: ClassVar[bool] = True
    statistics: ClassVar[tuple[Alternatives, ...]] = (NORMS,)

    dim: int | None = None

    @property
    def input_dim(self) -> int | None:
        """Its dim: requests before `Rule.input_dim` say it here."""
        return self.dim

    def domain(self, parameters: Sequence[DescribedParameter]) -> str:
        """Return the dtype of the products: F32; F64 for fp64 and integer weights, and for FP8 weights with a scale."""
        return domain_of({"F32", *(parameter.value_dtype for parameter in parameters)})

    def candidates(self, parameter: ArrivedParameter, context: ScoringContext) -> Candidates:
        """Return the unpruned entries by their products.

        Raises: CheckpointError for a norm that is not a finite number from 0.
        """
        planned = parameter.planned
        if not planned.entries:
            return context.backend.magnitudes(parameter.values, context.domain, parameter.mask)
        (suffix,) = self.used_statistics(planned.auxiliary)
        norms = input_norms(parameter, suffix)
        with np.errstate(over="ignore"):
            factors = norms.astype(FLOATS[context.domain])
        if not np.isfinite(factors).all():
            name = planned.auxiliary[suffix].name
            raise CheckpointError(
                Reason.INVALID_AUXILIARY,
                f"auxiliary tensor {name!r} gives the norm {norms.max()}, which {context.domain} does not hold",
                tensor=name,
            )
        layout = norm_layout(self._layout(planned), len(norms))
        return context.backend.products(parameter.values, factors, layout, context.domain, parameter.mask)

    def unit_ranks(self, units: UnitsToRank) -> UnitRanks:
        """Return the sum of the products of each unit; relative to the mean of the group, if groups compete."""
        sums = sum(map(_products, units.inputs), np.zeros(len(units.gone)))
        return ranked(relative_to_mean(sums, units.gone) if units.is_global else sums)

    def ranking_bytes(self, parameter: DescribedParameter) -> int:
        """Return the bytes of the factors, of all experts that are stacked in a tensor."""
        layout = self._layout(parameter)
        return layout.matrices * factor_bytes(norm_layout(layout, layout.input_channels))

    def _layout(self, parameter: DescribedParameter) -> InputLayout:
        if parameter.input_dim is None:
            raise RuntimeError(f"{parameter.name!r} was planned without the dim of its inputs")
        return input_layout(parameter.name, parameter.shape, parameter.input_dim)

    def refuse_nan(self, parameter: DescribedParameter, position: int) -> NoReturn:
        """Refuse NaN among the products. Raises: CheckpointError."""
        raise CheckpointError(
            Reason.NAN_WEIGHTS,
            f"tensor {parameter.weight!r} holds NaN, or an infinity whose norm is 0, among the entries that "
            f"rules[{position}] ranks; NaN has no rank",
            tensor=parameter.weight,
        )


def _products(inputs: UnitInputs) -> Floats:
    if inputs.layer.squares is None:
        raise RuntimeError(f"{inputs.layer.name!r} was planned with statistics that it does not have")
    norms = np.sqrt(inputs.layer.squares[inputs.index])
    return inputs.summed(np.abs(inputs.weight).sum(axis=0, dtype=np.float64) * norms)
