"""Why no rule acts on a tensor: one word, for plans and tables."""

from enum import StrEnum


class NotSelected(StrEnum):
    """Why no rule acts on a tensor."""

    NAME = "name"
    """No rule includes its name."""
    DTYPE = "dtype"
    """A pattern includes its name, but its dtype is not floating point."""
    DIMS = "dims"
    """It has fewer than 2 dims, and is not named in full."""
    EXCLUDED = "excluded"
    """An exclude pattern of the rule leaves it out."""
    EMBEDDING = "embedding"
    """It is not among the default targets: the rows of a lookup table, by its name."""
    OUTPUT_HEAD = "output_head"
    """It is not among the default targets: the projection to a vocabulary or to classes, by its name."""
    ROUTER = "router"
    """It is not among the default targets: it chooses the experts of a token, by its name."""
    NORM = "norm"
    """It is not among the default targets: the scale of a normalization, by its name."""
