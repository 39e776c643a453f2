"""The value of `Statistics`: what is known of the inputs of a model's layers, by the names that weights have in files.

Names: a model in memory may name its tensors differently from its files, or stack several tensors of the file in one
(transformers 5 stacks the experts of Mixtral). A tensor of statistics has the name on disk, `w:in_gram` for the weight
`w` of a file. `module_names` maps each name in memory that differs to its names on disk, so that `for_weights` finds
the statistics under both. Names on disk are looked up first.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pruning_client.pages.shown import Shown, Summary
from pruning_client.statistics.names import UNIT_KINDS, Kind, weight_of
from pruning_client.statistics.tensor import StatisticsTensor, stacked
from pruning_proto.counted import counted
from pruning_proto.names import STATISTICS


@dataclass(frozen=True, slots=True)
class WeightStatistics:
    """The statistics of some weights, each tensor once.

    `aliases` maps the auxiliary tensors that are equal to another one to it: `k:in_gram` to `q:in_gram`.
    """

    tensors: Mapping[str, StatisticsTensor]
    aliases: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsValue(Shown):
    """The fields of `Statistics`, which describes them."""

    kind: Kind
    tensors: Mapping[str, StatisticsTensor]
    aliases: Mapping[str, str] = field(default_factory=dict)
    input_dims: Mapping[str, int] = field(default_factory=dict)
    tokens: Mapping[str, int] = field(default_factory=dict)
    module_names: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    unmapped: tuple[str, ...] = ()
    model_type: str = ""

    def __repr__(self) -> str:
        size = sum(tensor.size_bytes for tensor in self.tensors.values())
        holder = "group" if self.kind in UNIT_KINDS else "weight"
        return f"<Statistics of kind {self.kind!r} for {counted(len(self.weights), holder)}, {size:,} bytes>"

    @property
    def summary(self) -> Summary:
        """What notebooks and terminals show of it: a row for each weight, or group, that has statistics."""
        rows = [{"name": name, "tokens": self.tokens.get(name)} for name in self.weights]
        return Summary(f"of kind {self.kind}, {len(rows):,} with statistics, {len(self.skipped):,} without", rows)

    @property
    def weights(self) -> tuple[str, ...]:
        """The weights that have statistics, by their names on disk; of kinds "layers" and "experts" the groups."""
        names = (*self.tensors, *self.aliases)
        return tuple(dict.fromkeys(weight_of(name) for name in names))

    def has(self, weight: str) -> bool:
        """Whether a weight has any statistics, by its name on disk or in memory."""
        return any(self._found(weight, suffix) is not None for suffix in STATISTICS)

    def for_weights(self, names: Iterable[str], suffixes: Iterable[str] = STATISTICS) -> WeightStatistics:
        """Return the statistics of these weights, under their names, which are those on disk or in memory.

        What several of them share belongs to the first; the others have an alias. Weights without statistics, and
        suffixes that these do not have, are left out.
        """
        tensors: dict[str, StatisticsTensor] = {}
        aliases: dict[str, str] = {}
        first: dict[tuple[bool, tuple[str, ...]], str] = {}
        wanted = tuple(suffixes)
        for name in names:
            for suffix in wanted:
                found = self._found(name, suffix)
                if found is None:
                    continue
                is_stack, parts = found
                owner = first.setdefault(found, name + suffix)
                if owner != name + suffix:
                    aliases[name + suffix] = owner
                elif is_stack:
                    tensors[owner] = stacked([self.tensors[part] for part in parts])
                else:
                    tensors[owner] = self.tensors[parts[0]]
        return WeightStatistics(tensors, aliases)

    def _found(self, weight: str, suffix: str) -> tuple[bool, tuple[str, ...]] | None:
        """Return whether a weight stacks several of the file, and the tensors that have its statistics; None: none."""
        names: str | tuple[str, ...] = weight
        if weight + suffix not in self.tensors and weight + suffix not in self.aliases:
            names = self.module_names.get(weight, weight)
        several = (names,) if isinstance(names, str) else names
        parts = tuple(self.aliases.get(name + suffix, name + suffix) for name in several)
        return (not isinstance(names, str), parts) if all(part in self.tensors for part in parts) else None
