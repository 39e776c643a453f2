"""What rules whose choice is known before any data make of a checkpoint: names, shapes and rows, never data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pruning_engine.checkpoints.parameters import TensorDescription
from pruning_engine.planning.stages import Groups
from pruning_engine.report import GroupReport

Runs: TypeAlias = npt.NDArray[np.int64]
"""Runs of positions, [begin, end) in each row, ascending. Shape: (runs, 2)."""


@dataclass(frozen=True, slots=True)
class Described:
    """A parameter of the checkpoint as it came, and whether all of it is left out."""

    name: str
    spec: TensorDescription
    is_removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Surgery:
    """A checkpoint without the units that are left out.

    `tensors`: those that remain, in their order, smaller where positions of dim 0 are left out. `removed`: names of the
    tensors that do not. `removed_rows`: by tensor, the positions of dim 0 that are left out. `result_names`: of
    parameters and scales, where numbers change. `groups`: what is reported of each group. `left`: of each rule that is
    carried out here, by position, the groups that remain to be pruned as usual. `parameters`: all that came, in order.
    """

    tensors: Sequence[TensorDescription]
    removed: frozenset[str] = frozenset()
    removed_rows: Mapping[str, Runs] = field(default_factory=dict)
    result_names: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[GroupReport, ...] = ()
    left: Groups = field(default_factory=dict)
    parameters: tuple[Described, ...] = ()

    @property
    def changes_nothing(self) -> bool:
        """Whether the checkpoint remains as it came."""
        return not (self.removed or self.removed_rows)
