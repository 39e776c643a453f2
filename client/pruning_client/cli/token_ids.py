"""Token ids as options of the command line: numbers and ranges, `0-255,300`, or a file of them."""

import re
from pathlib import Path
from typing import Final

from pruning_client.cli.arguments import UsageError

_IDS: Final = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")
_MOST: Final = 10_000_000


def ids_in(text: str) -> list[int]:
    """Return the ids in a text, or in the file of this name: separated by commas or white space.

    Raises: UsageError, OSError.
    """
    is_list = bool(re.fullmatch(r"[\d\s,-]+", text))
    found: list[int] = []
    for part in filter(None, re.split(r"[,\s]+", text if is_list else Path(text).read_text("utf-8"))):
        match = _IDS.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if last < first or last - first > _MOST:
            raise UsageError(f"token ids are numbers and ranges, such as 0-255,300; got {part[:80]!r}")
        found += range(first, last + 1)
    return found
