"""Tables as text for people: aligned columns, no color. Knows nothing about pruning.

On a terminal rich lays a table out in its width. Elsewhere, in a pipe or a file, names are never shortened and rich is
not imported: it costs more time than pruning a small file. Text of others is escaped: a tensor may have any name, and
written raw, one could move the cursor, color the screen, or look like one of our lines.
"""

import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO, TypeVar

from pruning_client.models.printable import printable as printable  # noqa: PLC0414 - a name of this module

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.measure import Measurement
    from rich.text import Text

_ItemT = TypeVar("_ItemT")

_GAP: Final = "  "
_MIN_NAME_COLUMNS: Final = 16
_NAME_COLUMNS: Final = 28
"""What names should have before optional columns are left out."""


@dataclass(frozen=True, slots=True)
class Table:
    """A head, rows and perhaps a footer; the first column is names, and the others are aligned to the right.

    `total` is a second row of the footer. `optional` are the columns, by their heads, that are left out where a
    terminal is too narrow for all, in this order.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    foot: Sequence[str] | None = None
    total: Sequence[str] | None = None
    optional: Sequence[str] = ()

    def render(self, width: int | None) -> str:
        """Return the lines. Names are shortened in the middle to fit `width` columns of a terminal; None: never."""
        if width is None:
            return self._plain()
        left_out = self._too_many(width)
        if not left_out:
            return self._fitted(width)
        note = f"not shown: {', '.join(left_out)}"
        return f"{self._without(left_out)._fitted(width)}\n{wrapped(note, width)}"

    def _too_many(self, width: int) -> list[str]:
        """Return the columns to leave out, as few as possible."""
        present = [head for head in self.optional if head in self.head]
        for count in range(len(present)):
            if self._without(present[:count])._least_width(_NAME_COLUMNS) <= width:
                return present[:count]
        return present

    def _without(self, heads: Sequence[str]) -> "Table":
        kept = [position for position, head in enumerate(self.head) if head not in heads]

        def cells(row: Sequence[str] | None) -> list[str] | None:
            return None if row is None else [row[position] for position in kept]

        rows = [[row[position] for position in kept] for row in self.rows]
        return Table(cells(self.head) or (), rows, cells(self.foot), cells(self.total))

    @property
    def _feet(self) -> list[Sequence[str]]:
        return [foot for foot in (self.foot, self.total) if foot is not None]

    def _plain(self) -> str:
        feet = self._feet
        rows = [[printable(cell) for cell in row] for row in (self.head, *self.rows, *feet)]
        widths = [max(map(columns, cells)) for cells in zip(*rows, strict=True)]
        rule = "─" * (sum(widths) + len(_GAP) * (len(widths) - 1))
        lines = [_line(row, widths) for row in rows]
        lines.insert(1, rule)
        if feet:
            lines.insert(-len(feet), rule)
        return "\n".join(lines)

    def _fitted(self, width: int) -> str:
        from rich.box import Box  # noqa: PLC0415 - only for tables on a terminal
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table as RichTable  # noqa: PLC0415

        rules = Box("    \n    \n ── \n    \n    \n ── \n    \n    \n")
        table = RichTable(box=rules, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        table.show_footer = bool(self._feet)
        feet = ["\n".join(cells) for cells in zip(*self._feet, strict=True)] or [""] * len(self.head)
        for position, (head, foot) in enumerate(zip(self.head, feet, strict=True)):
            if position == 0:
                table.add_column(_Name(head), _Name(foot))
            else:
                table.add_column(head, foot, justify="right", no_wrap=True)
        wide = max(width, self._least_width(_MIN_NAME_COLUMNS))
        is_folded = self._is_ambiguous(wide)
        for name, *cells in self.rows:
            text = printable(name)
            table.add_row(_folded(text) if is_folded else _Name(text), *map(printable, cells))
        console = Console(width=wide, color_system=None, markup=False, emoji=False, highlight=False)
        with console.capture() as capture:
            console.print(table)
        return "\n".join(line.rstrip() for line in capture.get().splitlines())

    def _least_width(self, name_columns: int) -> int:
        """Return the columns that all need if names longer than `name_columns` are shortened to that."""
        names, others = self._widths()
        return min(names, name_columns) + others

    def _widths(self) -> tuple[int, int]:
        """Return the columns of the longest name, and those of all else."""
        rows = (self.head, *self.rows, *self._feet)
        names, *others = [max(columns(printable(cell)) for cell in cells) for cells in zip(*rows, strict=True)]
        return names, sum(others) + len(_GAP) * len(others)

    def _is_ambiguous(self, width: int) -> bool:
        """Whether two names would look the same in their middle: then they are folded instead."""
        name_columns = width - self._widths()[1]
        names = {printable(row[0]) for row in self.rows}
        return len({shorten(name, name_columns) for name in names}) < len(names)


@dataclass(frozen=True, slots=True)
class _Name:
    """A name that rich may shorten in the middle; in the footer, one in each line."""

    text: str

    def __rich_measure__(self, console: "Console", options: "ConsoleOptions") -> "Measurement":
        from rich.measure import Measurement  # noqa: PLC0415

        width = max(map(columns, self.text.split("\n")))
        return Measurement(min(width, _MIN_NAME_COLUMNS), width)

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text  # noqa: PLC0415

        yield Text("\n".join(shorten(line, options.max_width) for line in self.text.split("\n")))


def _folded(text: str) -> "Text":
    """Return a name that takes as many lines as it needs."""
    from rich.text import Text  # noqa: PLC0415

    return Text(text, overflow="fold")


def columns(text: str) -> int:
    """Count the columns of a terminal that a text takes: two for most East Asian characters."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - only for such names

    return cell_len(text)


def shorten(text: str, width: int) -> str:
    """Leave out the middle of a text longer than `width` columns: both ends of a parameter's name are informative."""
    if columns(text) <= width:
        return text
    end = (width - 1) * 2 // 3
    return f"{_beginning(text, width - 1 - end)}…{_beginning(text[::-1], end)[::-1]}"


def bytes_text(count: int) -> str:
    """Return a number of bytes in the unit that leaves at most three digits before the point."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def change_text(value: float | None) -> str:
    """Return a size of a change in few digits; - where it is not known."""
    return "-" if value is None else f"{value:.3g}"


def largest(items: Sequence[_ItemT], top: int | None, size: Callable[[_ItemT], int]) -> list[_ItemT]:
    """Return the `top` items of largest size, in their order; None: all."""
    if top is None:
        return list(items)
    positions = sorted(range(len(items)), key=lambda position: -size(items[position]))[:top]
    return [items[position] for position in sorted(positions)]


def shown_line(shown: int, total: int) -> list[str]:
    """Return the line below a table that does not show all tensors."""
    return [f"the {shown:,} largest of {total:,} tensors; without --top all are shown"] if shown < total else []


def percent(part: int, total: int) -> str:
    """Return a part of a total in percent; of nothing it is 0."""
    return f"{part / total if total else 0.0:.2%}"


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as its sizes."""
    return "x".join(str(size) for size in shape) or "scalar"


def wrapped(text: str, width: int | None) -> str:
    """Return a text with lines that a terminal of `width` columns shows whole; None: as it is. Words stay whole."""
    if width is None:
        return text
    return "\n".join(_wrapped(line, width) for line in text.split("\n"))


def _wrapped(line: str, width: int) -> str:
    """Return a line, or several, of which the later ones are indented."""
    if columns(line) <= width:
        return line
    indent = line[: len(line) - len(line.lstrip(" "))] + _GAP
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


def terminal_width(stream: TextIO | None = None) -> int | None:
    """Return the columns of the terminal; None if the output is not a terminal, and names are not to be shortened.

    `stream`: the output, if it is not standard output.
    """
    if not (stream or sys.stdout).isatty():
        return None
    from shutil import get_terminal_size  # noqa: PLC0415 - only for a terminal

    return get_terminal_size().columns


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    blanks = [" " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)]
    name = row[0] + blanks[0]
    return _GAP.join([name, *(blank + cell for blank, cell in zip(blanks[1:], row[1:], strict=True))]).rstrip()


def _beginning(text: str, width: int) -> str:
    """Return as much of the beginning as fits into `width` columns."""
    taken = 0
    for index, character in enumerate(text):
        taken += columns(character)
        if taken > width:
            return text[:index]
    return text
