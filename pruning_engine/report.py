"""What was done: one frozen value for each selected parameter, one for each group, and one for all."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorReport:
    """What was done to one selected parameter.

    Units: entries. `pruned` includes `pruned_before`. `threshold` is the largest score that the last rule that ranks
    by magnitude pruned (in global scope, among all its tensors); None if no rule ranked or nothing was pruned.
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
    """What one rule did to one group of coupled channels.

    `rule`: its position in the recipe. `kept`: the numbers of the kept units, ascending. `tensors`: the parameters
    whose channels are coupled. `config`: fields of the model's config.json, and their new values.
    """

    rule: int
    name: str
    units: int
    kept: tuple[int, ...]
    tensors: tuple[str, ...]
    config: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was done to all selected parameters, in the order of the input.

    `seconds` is wall time by stage. `reproducible`: whether the same request gives the same bytes on every device.
    `groups` are in the order of rules, and for each rule in the order of names.
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
