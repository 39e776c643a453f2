"""LAMP: magnitudes that can be compared between tensors, so that global scope gives each tensor its amount.

Source: Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", 2021, arXiv:2010.07611, equation 1; see
methods/lamp.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

from pruning_engine.kernels.backend import Candidates
from pruning_engine.methods.lamp import MOST_RANGES, Profile, profile_of, shares
from pruning_engine.scope import Scope
from pruning_engine.scores.parameters import DescribedParameter
from pruning_engine.scores.score import Score
from pruning_engine.selection.competition import Competition, keys_between
from pruning_engine.selection.entries import NanKeyError

_KEY_BYTES: Final = 4
_RANGE_BYTES: Final = 40


@dataclass(frozen=True, slots=True)
class Lamp(Score):
    """w^2 over the sum of the w^2 of the same tensor that are no smaller; pruned entries do not count.

    Within one tensor this is the order of magnitudes. The threshold that is reported is the largest magnitude that was
    pruned, of each tensor by itself.
    """

    field: ClassVar[str] = "lamp"
    ranks: ClassVar[bool] = True
    default_scope: ClassVar[Scope] = Scope.GLOBAL
    ranks_channels: ClassVar[bool] = False
    ranks_values: ClassVar[bool] = False
    compares_keys: ClassVar[bool] = False

    def note(self, candidates: Candidates, domain: str) -> Profile:
        """Return the profile of a tensor. Raises: NanKeyError."""
        keys = candidates.everything()
        if len(keys) and candidates.is_nan(int(keys.max())):
            raise NanKeyError(0)
        return profile_of(keys, domain)

    def competition(self, tensors: Sequence[Candidates], notes: Sequence[object]) -> Competition:
        """Return how the tensors compete."""
        return _LampCompetition(tensors, [note for note in notes if isinstance(note, Profile)])

    def ranking_bytes(self, parameter: DescribedParameter) -> int:
        """Return the bytes of the sorted keys of a tensor, and of its profile."""
        return _KEY_BYTES * parameter.entries + _RANGE_BYTES * min(parameter.entries, MOST_RANGES)


@dataclass(frozen=True, slots=True, eq=False)
class _LampCompetition:
    tensors: Sequence[Candidates]
    profiles: Sequence[Profile]

    def shares(self, members: Sequence[int], total: int) -> Sequence[int]:
        """Return how many entries each of some tensors loses."""
        between = [partial(keys_between, self.tensors[index]) for index in members]
        return shares([self.profiles[index] for index in members], between, total)
