"""Kinds of statistics. Their suffixes are `pruning_proto.names.STATISTICS`."""

from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["norms", "gram", "inputs"]


def weight_of(name: str) -> str:
    """Return the weight that a tensor of statistics belongs to."""
    return name.rpartition(":")[0]
