"""RIA: weights that are small beside those of their row and their column, on weak inputs, are the least important.

Source: Zhang et al., "Plug-and-Play: An Efficient Post-training Pruning Method for Large Language Models", ICLR 2024,
equations 4 (relative importance) and 5 (with activations). The sums there are of all weights; here pruned ones do not
count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import ClassVar, Final, NoReturn

import numpy as np

from pruning_engine.checkpoints.parameters import AuxiliaryOf, TensorDescription
from pruning_engine.checkpoints.statistics import Alternatives
from pruning_engine.errors import CheckpointError, MismatchError, Reason, RecipeError
from pruning_engine.kernels.backend import Candidates, Floats
from pruning_engine.kernels.channel_layout import ChannelLayout
from pruning_engine.kernels.input_matrix import InputLayout, input_layout, is_of_experts
from pruning_engine.kernels.relative import RelativeFactors, inverses, summed_unit
from pruning_engine.scope import Scope
from pruning_engine.scores.entries.input_norms import NORMS, input_norms
from pruning_engine.scores.parameters import ArrivedParameter, DescribedParameter
from pruning_engine.scores.score import Score, ScoringContext

_EXPONENT: Final = 0.5
_LEAST_DIMS: Final = 2
_STACKED_DIMS: Final = 3


@dataclass(frozen=True, slots=True)
class RelativeImportance(Score):
    """(|w| / sum of its row + |w| / sum of its column) times the norm of its input to the power of `exponent`.

    `exponent`: the paper's a, None: 0.5. Without statistics it is the first factor alone. Rows and columns are those of
    the matrices that the layer multiplies by: a convolution is unfolded, and each expert is a matrix of its own.
    Computed in fp64, with sums that are the same for any backend and any number of threads: their terms are rounded to
    2^-40 of the largest weight or finer.
    """

    field: ClassVar[str] = "ria"
    ranks: ClassVar[bool] = True
    default_scope: ClassVar[Scope] = Scope.OUTPUT_CHANNEL
    ranks_channels: ClassVar[bool] = False
    optional_statistics: ClassVar[tuple[Alternatives, ...]] = (NORMS,)

    exponent: float | None = None

    def check(self, path: str) -> None:
        """Refuse an exponent that is not a finite number from 0. Raises: RecipeError."""
        if self.exponent is not None and not 0 <= self.exponent < inf:
            field = f"{path}.exponent"
            raise RecipeError(
                Reason.INVALID_RECIPE, f"{field}: allowed are finite numbers from 0, got {self.exponent}", field=field
            )

    def check_parameter(self, name: str, weight: TensorDescription, auxiliary: AuxiliaryOf, path: str) -> None:
        """Refuse a tensor without rows and columns. Raises: MismatchError naming the tensor."""
        Score.check_parameter(self, name, weight, auxiliary, path)
        if len(weight.shape) < _LEAST_DIMS:
            raise MismatchError(
                Reason.DIM_OUT_OF_RANGE,
                f"{path} selects tensor {name!r} of shape {list(weight.shape)}, which has no rows and columns; leave "
                "it out of the rule",
                field=f"{path}.select",
                tensor=name,
            )

    def domain(self, parameters: Sequence[DescribedParameter]) -> str:  # noqa: ARG002 - of any dtype
        """Return the dtype of the scores: F64."""
        return "F64"

    def candidates(self, parameter: ArrivedParameter, context: ScoringContext) -> Candidates:
        """Return the unpruned entries by their relative importance.

        Raises: CheckpointError for a norm that is not a finite number from 0, and for weights that are not finite.
        """
        planned, backend, mask = parameter.planned, context.backend, parameter.mask
        layout, values, entries = matrices_of(planned), parameter.values, planned.entries
        if not entries:
            return backend.magnitudes(values, context.domain, mask)
        (largest,) = backend.norms(values, mask, ChannelLayout(1, 1, entries, (entries,)), inf)
        if not isfinite(largest):
            self.refuse_nan(planned, context.position)
        unit = summed_unit(float(largest), max(layout.stored[1:]))
        rows, columns = backend.line_sums(values, mask, layout.stored, unit)
        factors = RelativeFactors(
            rows=inverses(rows),
            columns=inverses(columns),
            norms=self._norms(parameter, layout),
            norms_are_of_rows=layout.is_transposed,
        )
        return backend.relative(values, factors, mask)

    def ranking_bytes(self, parameter: DescribedParameter) -> int:
        """Return the bytes of the factors of rows, columns and inputs, as they are made and as a backend holds them."""
        matrices, rows, columns = matrices_of(parameter).stored
        return 3 * 8 * matrices * (rows + columns)

    def refuse_nan(self, parameter: DescribedParameter, position: int) -> NoReturn:
        """Refuse weights that are not finite, whose row has no sum. Raises: CheckpointError."""
        raise CheckpointError(
            Reason.NAN_WEIGHTS,
            f"tensor {parameter.weight!r} holds NaN or an infinity among the entries that rules[{position}] ranks, so "
            "that nothing is relative to the sums of its row and column",
            tensor=parameter.weight,
        )

    def _norms(self, parameter: ArrivedParameter, layout: InputLayout) -> Floats | None:
        """Return the factor of each input: (1, inputs), or (matrices, inputs) if experts have their own."""
        used = self.used_statistics(parameter.planned.auxiliary)
        if not used:
            return None
        norms = input_norms(parameter, used[0]) ** (_EXPONENT if self.exponent is None else self.exponent)
        if len(norms) == layout.input_channels and layout.positions > 1:
            norms = np.repeat(norms, layout.positions)
        return norms.reshape(-1, layout.columns)


def matrices_of(parameter: DescribedParameter) -> InputLayout:
    """Return the matrices of a weight; where its input dim is not known, those of a Linear, a Conv or (E, out, in)."""
    dim = parameter.input_dim
    if dim is None:
        dim = 2 if len(parameter.shape) == _STACKED_DIMS and is_of_experts(parameter.name) else 1
    return input_layout(parameter.name, parameter.shape, dim)
