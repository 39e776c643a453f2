"""How much is pruned: a part of each matrix, or N:M."""

from typing import NamedTuple, TypeAlias


class NOfM(NamedTuple):
    """`n` weights are kept in each `m` consecutive ones of a row."""

    n: int
    m: int


Amount: TypeAlias = float | NOfM
"""A float is the part of each matrix that is pruned."""


def named(amount: Amount) -> str:
    """Return how an amount is printed: "50 %" or "2:4"."""
    return f"{amount.n}:{amount.m}" if isinstance(amount, NOfM) else f"{amount:.0%}".replace("%", " %")


def part_of(amount: Amount) -> float | None:
    """Return the part that is pruned; None for N:M."""
    return None if isinstance(amount, NOfM) else amount


def pattern_of(amount: Amount) -> NOfM | None:
    """Return N:M; None for a part."""
    return amount if isinstance(amount, NOfM) else None
