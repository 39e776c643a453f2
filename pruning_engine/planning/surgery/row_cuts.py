"""Positions of dim 0 that are left out of tensors: whole runs of their bytes."""

from dataclasses import dataclass, field
from math import prod

import numpy as np

from pruning_engine.checkpoints.parameters import TensorDescription, TensorSpec
from pruning_engine.dtypes import element_bits
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.granularities.resolved_groups import ResolvedSlice
from pruning_engine.kernels.backend import BoolArray
from pruning_engine.planning.surgery.surgery import Runs

MOST_RUNS = 500_000
"""Runs that are left out of all tensors together: each is a range of bytes in the plan."""


@dataclass(slots=True)
class RowCuts:
    """The runs that are left out of each tensor so far."""

    runs: dict[str, list[Runs]] = field(default_factory=dict)
    count: int = 0

    def add(self, tensor: str, runs: Runs, path: str) -> None:
        """Leave out runs of a tensor's positions. `path`: of the rule. Raises: MismatchError if they are too many."""
        self.count += len(runs)
        if self.count > MOST_RUNS:
            raise MismatchError(
                Reason.UNIT_MISFIT,
                f"{path}: more than {MOST_RUNS:,} runs of positions are left out of tensor {tensor!r} and others "
                "together; prune in several calls, or units that are next to each other",
                field=path,
                tensor=tensor,
            )
        if len(runs):
            self.runs.setdefault(tensor, []).append(runs)

    def of(self, tensor: str) -> Runs | None:
        """Return the runs of a tensor, ascending and joined; None if it stays whole."""
        found = self.runs.get(tensor)
        return None if found is None else joined(np.concatenate(found))

    def cut(self, spec: TensorDescription) -> TensorDescription:
        """Return a tensor as it remains."""
        runs = self.of(spec.name)
        if runs is None:
            return spec
        left = spec.shape[0] - int((runs[:, 1] - runs[:, 0]).sum())
        return TensorSpec(spec.name, spec.dtype, (left, *spec.shape[1:]))


def removed_runs(tie: ResolvedSlice, kept: BoolArray, path: str) -> Runs:
    """Return the positions that the pruned units of a tie own. Shape: `kept` (units,). Raises: MismatchError."""
    if tie.indices:
        places = np.sort(tie.positions()[~kept].reshape(-1))
        return joined(np.stack([places, places + 1], axis=1))
    units = _runs_of(~kept)
    if tie.outer * len(units) > MOST_RUNS:
        raise MismatchError(
            Reason.UNIT_MISFIT,
            f"{path}: tensor {tie.parameter!r} would lose {tie.outer * len(units):,} runs of positions, at most "
            f"{MOST_RUNS:,} are allowed",
            field=path,
            tensor=tie.parameter,
        )
    block = units * tie.inner
    begins = tie.offset + np.arange(tie.outer, dtype=np.int64) * (tie.units * tie.inner)
    return joined((begins[:, None, None] + block[None]).reshape(-1, 2))


def check_whole_bytes(spec: TensorDescription, path: str) -> None:
    """Refuse a tensor whose positions of dim 0 are not whole bytes. Raises: MismatchError naming it."""
    if prod(spec.shape[1:]) * element_bits(spec.dtype) % 8:
        raise MismatchError(
            Reason.UNPRUNABLE_DTYPE,
            f"{path}: positions along dim 0 of tensor {spec.name!r} of dtype {spec.dtype} and shape {list(spec.shape)} "
            "are not whole bytes, so none can be left out",
            field=path,
            tensor=spec.name,
        )


def joined(runs: Runs) -> Runs:
    """Return runs that do not overlap in ascending order, adjacent ones as one."""
    if not len(runs):
        return runs
    ordered = runs[np.argsort(runs[:, 0], kind="stable")]
    first = np.concatenate([[True], ordered[1:, 0] != ordered[:-1, 1]])
    last = np.concatenate([first[1:], [True]])
    return np.stack([ordered[first, 0], ordered[last, 1]], axis=1)


def _runs_of(flags: BoolArray) -> Runs:
    """Return the runs of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return edges.astype(np.int64).reshape(-1, 2)
