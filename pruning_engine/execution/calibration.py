"""What a rule does after it has decided what is pruned: swaps improve the mask, an update changes what remains."""

from dataclasses import replace
from functools import partial

import numpy as np

from pruning_engine.buffer import CARRIERS, Buffer
from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.granularities.n_of_m import NOfM
from pruning_engine.granularities.units import Units
from pruning_engine.kernels.backend import BoolArray, Flat
from pruning_engine.kernels.cpu.arrays import raw_integers
from pruning_engine.kernels.cpu.scales import Scales
from pruning_engine.kernels.input_matrix import Matrices, flags_of, mask_of, read_entries
from pruning_engine.kernels.rounding import write_rounded
from pruning_engine.kernels.scaled_weights import ScaledWeights
from pruning_engine.methods.swaps import swap
from pruning_engine.recipe import Rule
from pruning_engine.selection.outcome import Outcome
from pruning_engine.updates.bias_compensation import BiasCompensation
from pruning_engine.updates.swaps import Swaps
from pruning_engine.updates.update import NewWeights

_STEPS = 50
_CANDIDATES = 48


def calibrated(rule: Rule, state: ParameterState, outcome: Outcome) -> Outcome:
    """Return the outcome of a rule after its swaps and its update.

    Raises: CheckpointError if the statistics cannot be used.
    """
    if rule.swaps is not None:
        outcome = _swapped(rule, rule.swaps, state, outcome)
    return outcome if rule.update is None else _updated(rule, state, outcome)


def _swapped(rule: Rule, swaps: Swaps, state: ParameterState, outcome: Outcome) -> Outcome:
    """Swap within each row; what was pruned before the rule stays pruned."""
    layer, layout = state.layer, state.layer.layout
    keep = layout.to_matrices(flags_of(outcome.mask, state.backend))
    before = layout.to_matrices(flags_of(state.mask, state.backend))
    search = partial(swap, steps=swaps.steps or _STEPS, candidates=swaps.candidates or _CANDIDATES)
    order = None
    if isinstance(rule.granularity, NOfM):
        search = partial(search, group=rule.granularity.m)
        order = rule.granularity.order_of(state.planned)
    swapped = np.empty_like(keep)
    for index, gram in enumerate(layer.grams):
        weight, kept, frozen = layer.weight[index], keep[index], ~before[index]
        if order is None:
            swapped[index] = search(weight, kept, gram, frozen=frozen)
        else:
            found = search(weight[:, order], kept[:, order], gram.in_order(order), frozen=frozen[:, order])
            swapped[index][:, order] = found
    is_same = bool((swapped == keep).all())
    if is_same:
        return outcome
    mask = mask_of(layout.to_entries(swapped), state.backend)
    return replace(outcome, mask=mask, eliminated=None)  # what an elimination left was for the other mask


def _updated(rule: Rule, state: ParameterState, outcome: Outcome) -> Outcome:
    is_of_units = rule.granularity.field == Units.field
    if is_of_units and state.planned.input_dim not in (outcome.kept or {}):
        return outcome  # it does not consume them
    layer, flags = state.layer, flags_of(outcome.mask, state.backend)
    if flags.all():
        return outcome  # there is nothing to make up for, and damping would only shrink the weights
    keep = layer.layout.to_matrices(flags)
    update = rule.update
    if isinstance(update, BiasCompensation):
        before = layer.layout.to_matrices(_numbers(state, flags_of(state.mask, state.backend)))
        return replace(outcome, bias_delta=update.bias_delta(layer, before, np.where(keep, before, 0)))
    with np.errstate(all="ignore"):
        if update is None:
            new = None
        elif is_of_units:
            new = update.new_weights_of_units(layer, keep)
        else:
            new = update.new_weights(layer, keep, outcome.eliminated)
    if new is None:
        return outcome
    return replace(
        outcome,
        weight=_entries(state, new, flags),
        eliminated=None,
        damping=new.damping,
        asked_damping=new.asked,
    )


def _numbers(state: ParameterState, flags: BoolArray) -> Matrices:
    """Return the weights as they are now, flat, 0 where pruned."""
    numbers = read_entries(state.values, state.layer.weight.dtype)
    numbers[~flags] = 0
    return numbers


def _entries(state: ParameterState, new: NewWeights, flags: BoolArray) -> Flat:
    """Return new weights in the dtype of the parameter, rounded once; pruned entries keep the values they had."""
    numbers, planned = state.layer.layout.to_entries(new.weight), state.planned
    if not np.isfinite(numbers).all():
        raise CheckpointError(
            Reason.INVALID_AUXILIARY,
            f"the update of tensor {planned.name!r} by {state.layer.source!r} gave weights that are not finite: the "
            f"numbers of its statistics are too large for fp32; scale them down, or send them for fewer tokens",
            tensor=state.layer.source,
        )
    old = state.values.host()
    codes: Buffer = old.codes if isinstance(old, ScaledWeights) else old
    out = Buffer(planned.dtype, (planned.entries,), np.empty(planned.entries, CARRIERS[planned.dtype]))
    write_rounded(_unscaled(numbers, old) if isinstance(old, ScaledWeights) else numbers, out)
    np.copyto(raw_integers(out), raw_integers(codes), where=~flags)
    return state.backend.load(out)


def _unscaled(numbers: Matrices, weights: ScaledWeights) -> Matrices:
    """Return the codes that are worth these numbers, before rounding; of blocks whose scale is 0 they are 0."""
    scales = np.ones(len(numbers))
    Scales(weights).multiply_run_(scales, 0)
    result: Matrices = np.divide(numbers, scales, out=np.zeros(len(numbers)), where=scales > 0)
    return result
