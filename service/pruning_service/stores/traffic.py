"""How much went to and from the stores, for metrics and progress."""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["read_bytes", "written_bytes", "requests", "retries"]

KINDS: Final[tuple[Kind, ...]] = ("read_bytes", "written_bytes", "requests", "retries")


class Traffic:
    """Counts by scheme and kind; from any thread."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Kind]] = Counter()
        self._lock = threading.Lock()

    def add(self, scheme: str, kind: Kind, count: int = 1) -> None:
        """Add to a count."""
        with self._lock:
            self._counts[scheme, kind] += count

    def counts(self) -> Mapping[tuple[str, Kind], int]:
        """Return all counts so far, by scheme and kind."""
        with self._lock:
            return dict(self._counts)
