"""Why a tensor is not selected, in words."""

from typing import Final

_WORDS: Final = {
    "name": "no rule includes its name",
    "dtype": "its dtype is not floating point",
    "dims": "fewer than 2 dims",
    "excluded": "excluded",
    "embedding": "an embedding, by its name",
    "output_head": "an output head, by its name",
    "router": "a router, by its name",
    "norm": "a norm, by its name",
}


def why_not(reason: str | None) -> str:
    """Return a plan's reason in words; one of a newer server as it came."""
    return _WORDS.get(reason or "unknown", reason or "unknown")
