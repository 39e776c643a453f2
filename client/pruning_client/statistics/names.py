"""Names and kinds of statistics."""

from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["norms", "gram", "inputs"]

IN_SUM2: Final = ":in_sum2"
IN_SUM: Final = ":in_sum"
IN_COUNT: Final = ":in_count"
IN_GRAM: Final = ":in_gram"
INPUTS: Final = ":inputs"

SUFFIXES: Final = (IN_SUM2, IN_SUM, IN_COUNT, IN_GRAM, INPUTS)
"""What a tensor of statistics adds to the name of its weight."""


def weight_of(name: str) -> str:
    """Return the weight that a tensor of statistics belongs to."""
    return name.rpartition(":")[0]
