"""Lists of token ids as text: numbers and ranges, `0-255,300`, or a file of them."""

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Final

from pruning_client.errors import RecipeError

_IDS: Final = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")
_MOST: Final = 10_000_000


def ids_in(text: str) -> list[int]:
    """Return the ids in a text, or in the file of this name: separated by commas or white space.

    Raises: RecipeError, OSError.
    """
    is_list = bool(re.fullmatch(r"[\d\s,-]+", text))
    found: list[int] = []
    for part in filter(None, re.split(r"[,\s]+", text if is_list else Path(text).read_text("utf-8"))):
        match = _IDS.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if last < first or last - first > _MOST:
            raise RecipeError(f"token ids are numbers and ranges, such as 0-255,300; got {part[:80]!r}")
        found += range(first, last + 1)
    return found


def ids_text(ids: Iterable[int]) -> str:
    """Return ascending ids as text: `0-3,17`."""
    text, first = [], None
    for one, two in pairwise([*ids, -1]):
        first = one if first is None else first
        if two != one + 1:
            text.append(str(one) if first == one else f"{first}-{one}")
            first = None
    return ",".join(text)
