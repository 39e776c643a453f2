"""The outcome of a score that finds mask and weights of a matrix together: what SparseGPT and ALPS have in common."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from pruning_engine.kernels.input_matrix import flags_of, mask_of
from pruning_engine.methods.arrays import Array
from pruning_engine.methods.choices import Choice
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.sparsegpt import Eliminated
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.selection.outcome import EliminatedWeights, Outcome

Prune: TypeAlias = Callable[[Array, Gram, Choice, Array], Eliminated]
"""Takes the weights (R, C) of a matrix, its Gram, what is pruned, and the mask before."""


def outcome_of(
    parameter: ArrivedParameter, choices: Sequence[Choice], prune: Prune, *, asked: float, block: int | None = None
) -> Outcome:
    """Return what remains where each matrix is pruned by its choice, and the weights that make up for it.

    `asked`: the damping that was asked for. `block`: columns that were decided together, None: all.
    Raises: CheckpointError if the statistics cannot be used.
    """
    layer, backend = parameter.layer, parameter.backend
    flags = layer.layout.to_matrices(flags_of(parameter.mask, backend))
    keep, dampings = np.empty(flags.shape, np.bool_), [asked]

    def one(index: int, gram: Gram) -> Array:
        choice, order = choices[index], choices[index].order
        if order is None:
            found = prune(layer.weight[index], gram, choice, flags[index])
            keep[index], weight = found.keep, found.weight
        else:
            found = prune(layer.weight[index][:, order], gram.in_order(order), choice, flags[index][:, order])
            weight = np.empty_like(found.weight)
            keep[index][:, order], weight[:, order] = found.keep, found.weight
        dampings.append(found.damping)
        return weight

    weight = layer.each(one)
    eliminated = EliminatedWeights(weight=weight, block=block, asked=asked, damping=max(dampings))
    mask = mask_of(layer.layout.to_entries(keep), backend)
    return Outcome(mask, is_ranked=True, eliminated=eliminated, damping=eliminated.damping, asked_damping=asked)
