"""Kinds of statistics. Their suffixes are `pruning_proto.names.STATISTICS`, and `UNIT_STATISTICS` for units."""

from typing import Final, Literal, TypeAlias

from pruning_proto.names import UNIT_COUNT, UNIT_SUM

Kind: TypeAlias = Literal["norms", "gram", "inputs", "layers", "experts"]

UnitKind: TypeAlias = Literal["layers", "experts"]
"""Kinds that have a number for each unit of a group, and nothing for single weights."""

UNIT_KINDS: Final[tuple[UnitKind, ...]] = ("layers", "experts")

UNIT_STATISTICS: Final = (UNIT_SUM, UNIT_COUNT)


def weight_of(name: str) -> str:
    """Return the weight, or the group of units, that a tensor of statistics belongs to."""
    return name.rpartition(":")[0]
