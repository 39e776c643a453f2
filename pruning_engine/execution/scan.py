"""The predicted error of a tensor over the part of it that a rule prunes: a curve, and nothing is pruned."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from pruning_engine.execution.calibration import calibrated
from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.execution.predicted_errors import relative_error
from pruning_engine.kernels.input_matrix import flags_of, read_entries
from pruning_engine.recipe import Rule, Sparsity
from pruning_engine.report import CurvePoint
from pruning_engine.selection.outcome import Outcome

Decide = Callable[[Rule, ParameterState], Outcome]
"""Returns what a rule decides for one parameter, which stays as it is."""


def curve(
    rule: Rule, position: int, state: ParameterState, sparsities: Sequence[float], decide: Decide
) -> Iterator[CurvePoint]:
    """Yield the predicted error at each sparsity, ascending; one point if the rule takes no amount.

    Raises: CheckpointError if the statistics cannot be used.
    """
    layer = state.layer
    for amount in _amounts(rule, sparsities):
        outcome = calibrated(rule, state, decide(replace(rule, amount=amount), state))
        flags = flags_of(outcome.mask, state.backend)
        numbers = read_entries(state.values_of(outcome.weight), layer.weight.dtype)
        pruned = layer.layout.to_matrices(np.where(flags, numbers, 0))
        yield CurvePoint(
            rule=position,
            sparsity=1 - np.count_nonzero(flags) / max(1, flags.size),
            predicted_error=relative_error(layer, pruned),
            is_weak=not layer.grams,
        )


def _amounts(rule: Rule, sparsities: Sequence[float]) -> Sequence[Sparsity | None]:
    takes_amount = rule.score.ranks and rule.granularity.takes_amount
    return [Sparsity(each) for each in sparsities] if takes_amount else [None]
