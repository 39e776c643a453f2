"""What was done: frozen values, one for each selected parameter and one for all."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorReport:
    """What became of one selected parameter.

    Units: entries. `pruned` includes `pruned_before`. `threshold` is the largest score that fell to the last rule
    that ranks by magnitude (in global scope, among all its tensors); None if none ranked or nothing fell.
    """

    name: str
    entries: int
    pruned_before: int
    pruned: int
    threshold: float | None = None

    @property
    def sparsity(self) -> float:
        """The pruned part of all entries, 0.0 to 1.0; 0.0 for an empty tensor."""
        return self.pruned / self.entries if self.entries else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReport:
    """What became of one group of tied channels under one rule.

    `rule`: its place in the recipe. `kept`: the numbers of the units that are left, ascending. `tensors`: the logical
    names of what is tied. `config`: fields of the model's config.json, and their values now.
    """

    rule: int
    name: str
    units: int
    kept: tuple[int, ...]
    tensors: tuple[str, ...]
    config: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of all selected parameters, in the order they came in.

    `seconds` is wall time by stage. `reproducible`: whether the same request gives the same bytes on any device.
    `groups` stand in the order of rules, and in each by name.
    """

    tensors: tuple[TensorReport, ...]
    seconds: Mapping[str, float]
    device: str
    seed: int
    reproducible: bool
    groups: tuple[GroupReport, ...] = ()

    @property
    def entries(self) -> int:
        """Entries of all selected parameters."""
        return sum(tensor.entries for tensor in self.tensors)

    @property
    def pruned(self) -> int:
        """Pruned entries of all selected parameters."""
        return sum(tensor.pruned for tensor in self.tensors)

    @property
    def sparsity(self) -> float:
        """The pruned part of all entries, 0.0 to 1.0."""
        return self.pruned / self.entries if self.entries else 0.0
