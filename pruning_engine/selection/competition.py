"""How many entries each of several tensors loses, if the least important ones of all of them are pruned."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pruning_engine.kernels.backend import Backend, Candidates, Integers
from pruning_engine.runtime.threads import in_parallel
from pruning_engine.selection.entries import NanKeyError, select


class Competition(Protocol):
    """Tensors whose entries compete; they are given by their index."""

    def shares(self, members: Sequence[int], total: int) -> Sequence[int]:
        """Return how many entries each of some tensors loses, if these alone compete.

        Raises: NanKeyError if a candidate is NaN.
        """
        ...


class KeyCompetition:
    """Tensors whose keys are compared with each other as they are."""

    def __init__(self, tensors: Sequence[Candidates], samples: Sequence[Integers], backend: Backend) -> None:
        self._tensors = tensors
        self._samples = samples
        self._backend = backend

    def shares(self, members: Sequence[int], total: int) -> Sequence[int]:
        """Return how many entries each of some tensors loses."""
        tensors = [self._tensors[index] for index in members]
        try:
            selected = select(tensors, total, samples=[self._samples[index] for index in members])
        except NanKeyError as error:
            raise NanKeyError(members[error.index]) from error
        return [
            candidates.unpruned - self._backend.count(kept)
            for candidates, kept in zip(tensors, selected.kept, strict=True)
        ]


def keys_between(candidates: Candidates, low: int, high: int) -> Integers:
    """Return the keys of all candidates from `low` to `high`, both included."""
    kept = candidates.blank()
    splits = in_parallel(lambda piece: candidates.split(piece, low, high, kept), candidates.pieces())
    if low == high:
        return np.full(sum(split.inside for split in splits), low, np.uint64)
    keys = [split.keys for split in splits if split.keys is not None]
    return np.concatenate(keys) if keys else np.empty(0, np.uint64)
