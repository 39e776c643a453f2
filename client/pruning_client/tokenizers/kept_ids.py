"""Which ids of a vocabulary are kept, and what their new ids are."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from pruning_client.errors import RecipeError


@dataclass(frozen=True, slots=True)
class KeptIds:
    """The ids that are kept, ascending, of a vocabulary whose embedding has `rows` rows."""

    kept: tuple[int, ...]
    rows: int

    @classmethod
    def of(cls, kept: Iterable[int], rows: int) -> "KeptIds":
        """Return the ids in order, each once. Raises: RecipeError if there is none, or one is not a row."""
        ids = tuple(sorted(set(kept)))
        if not ids:
            raise RecipeError("no token is kept; list at least one id", metadata={"field": "kept"})
        outside = ids[0] if ids[0] < 0 else ids[-1]
        if not 0 <= outside < rows:
            raise RecipeError(
                f"token id {outside:,} is kept, but the vocabulary has the ids 0 to {rows - 1:,}; correct the list",
                metadata={"field": "kept"},
            )
        return cls(ids, rows)

    @property
    def removed(self) -> int:
        """The number of ids that are removed."""
        return self.rows - len(self.kept)

    def new_id(self, old: int) -> int | None:
        """Return the new id of a token; None if it is removed.

        Ids that are not rows stay outside: negative ones as they are, and those after the last row directly after the
        new last row, as a placeholder that no embedding is read for.
        """
        if old < 0:
            return old
        if old >= self.rows:
            return old - self.removed
        place = bisect_left(self.kept, old)
        return place if place < len(self.kept) and self.kept[place] == old else None
