"""The stage of a rule's update that changes a bias: what pruning took from the mean output of the layer is added."""

from collections.abc import Mapping

import numpy as np

from pruning_engine.buffer import CARRIERS, Buffer
from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.kernels.cpu.arrays import raw_integers
from pruning_engine.kernels.input_matrix import computed_dtype, flags_of, read_entries
from pruning_engine.kernels.rounding import write_rounded
from pruning_engine.planning.bias_updates import BiasOf
from pruning_engine.selection.outcome import Outcome


def compensate(states: Mapping[str, ParameterState], names: BiasOf) -> None:
    """Add to a bias what the rule before left for it.

    Pruned entries stay as they are, and so does a bias of another size than the layer's outputs.
    """
    weight, bias = states[names.weight], states[names.bias]
    delta, weight.bias_delta = weight.bias_delta, None
    if delta is None or len(delta) != bias.planned.entries:
        return
    dtype = computed_dtype(bias.planned.dtype)
    numbers = read_entries(bias.values, dtype) + delta.astype(dtype)
    old: Buffer = bias.weight.host()
    out = Buffer(old.dtype, old.shape, np.empty(old.entries, CARRIERS[old.dtype]))
    write_rounded(numbers, out)
    np.copyto(raw_integers(out), raw_integers(old), where=~flags_of(bias.mask, bias.backend))
    bias.keep(Outcome(bias.mask, weight=bias.backend.load(out)))
