"""Units of coupled channels as the layers that consume them see them: input channels, whose statistics rank the units.

`granularities/consumers.py` says which layers these are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pruning_engine.kernels.backend import BoolArray, Floats, Integers
from pruning_engine.methods.arrays import Array
from pruning_engine.scores.layer import Layer
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.scores.units.unit_rows import UnitRows


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class UnitInputs:
    """The units in one matrix of a layer that consumes them.

    Attributes:
        layer: with weights as they arrived.
        index: of the matrix: 0, or an expert of a stack.
        columns: (units, k), the columns of each unit.
    """

    layer: Layer
    index: int
    columns: Integers

    @property
    def weight(self) -> Array:
        """The matrix, (R, C)."""
        return self.layer.weight[self.index]

    def summed(self, by_column: Array) -> Floats:
        """Return the sum over each unit's columns of numbers (C,)."""
        sums: Floats = by_column.astype(np.float64, copy=False)[self.columns].sum(axis=1)
        return sums


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class UnitsToRank:
    """One group of units.

    Attributes:
        group: its name.
        inputs: one for each matrix that consumes them; empty for a score that uses no statistics.
        rows: one for each parameter that computes them; only for scores that rank gated units.
        first: the parameter of the group's first tie.
        gone: (units,), those whose every entry was pruned before.
        is_global: whether the units of several groups compete.
        most: how many are pruned at most, so that the order of others does not matter; None: all may be.
    """

    group: str
    inputs: Sequence[UnitInputs]
    first: ArrivedParameter
    gone: BoolArray
    is_global: bool
    most: int | None = None
    rows: Sequence[UnitRows] = ()


@dataclass(frozen=True, slots=True, eq=False)
class UnitRanks:
    """What ranks the units of a group.

    Attributes:
        ranks: (units,), fp64; the least is pruned first.
        order: (units,), all units in the order in which they are pruned; their ranks ascend.
    """

    ranks: Floats
    order: Integers


def ranked(ranks: Floats) -> UnitRanks:
    """Return units by their ranks; among equals the first are pruned first."""
    return UnitRanks(ranks, np.argsort(ranks, kind="stable"))


def relative_to_mean(ranks: Floats, gone: BoolArray) -> Floats:
    """Return ranks of which those that can be pruned are 1 on average, so that groups compare."""
    mean = float(ranks[~gone].mean()) if not gone.all() else 0.0
    return ranks / mean if mean > 0 else ranks
