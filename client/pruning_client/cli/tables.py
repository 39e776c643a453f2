"""Tables as text, for people: aligned columns, no color. Knows nothing of pruning.

Widths are columns of a terminal, and what does not print is escaped: names are anybody's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pruning_client.cli.terminal import columns, printable

_GAP: Final = "  "
_SHORTEST_NAME: Final = 16


@dataclass(frozen=True, slots=True)
class Table:
    """A head, rows and a last row set off from them; the first column is names, and the others align to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    foot: Sequence[str] | None = None

    def render(self, width: int | None) -> str:
        """Give the lines; names are shortened in the middle where `width` columns are not enough, None: never."""
        given = [self.head, *self.rows, *([self.foot] if self.foot is not None else [])]
        rows = [[printable(cell) for cell in row] for row in given]
        widths = [max(columns(row[column]) for row in rows) for column in range(len(self.head))]
        if width is not None:
            others = sum(widths[1:]) + len(_GAP) * (len(widths) - 1)
            widths[0] = min(widths[0], max(_SHORTEST_NAME, width - others))
        rule = "─" * (sum(widths) + len(_GAP) * (len(widths) - 1))
        lines = [_line(row, widths) for row in rows]
        lines.insert(1, rule)
        if self.foot is not None:
            lines.insert(-1, rule)
        return "\n".join(lines)


def shorten(text: str, width: int) -> str:
    """Leave out the middle of what is longer than `width`; the ends of a parameter's name tell most."""
    if columns(text) <= width:
        return text
    end = (width - 1) * 2 // 3
    return f"{_beginning(text, width - 1 - end)}…{_beginning(text[::-1], end)[::-1]}"


def bytes_text(count: int) -> str:
    """Give a number of bytes in the unit that leaves at most three digits before the point."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    name = shorten(row[0], widths[0])
    name += _blank(name, widths[0])
    others = (_blank(cell, width) + cell for cell, width in zip(row[1:], widths[1:], strict=True))
    return _GAP.join((name, *others)).rstrip()


def _blank(text: str, width: int) -> str:
    return " " * (width - columns(text))


def _beginning(text: str, width: int) -> str:
    """Give as much of the beginning as `width` columns take."""
    taken = 0
    for index, character in enumerate(text):
        taken += columns(character)
        if taken > width:
            return text[:index]
    return text
