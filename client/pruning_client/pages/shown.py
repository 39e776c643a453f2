"""Values as notebooks and terminals show them: a short text, a table in HTML or of rich, and a frame of pandas.

pandas and rich are imported only when they are asked for; pandas is not a dependency.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from pruning_client.models.printable import printable
from pruning_client.pages.words import number_words

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN: Final = 20
"""Rows of a table; a model may have thousands of tensors."""

_STYLE: Final = "text-align:left"
"""Of all cells: notebooks align to the right, which makes names hard to read."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What is shown of a value: a line of text, and rows, each a mapping of the same columns."""

    title: str
    rows: Sequence[Mapping[str, Any]]


class Shown:
    """A value that shows its summary. Subclasses have `summary`, and no `__repr__` of their own."""

    __slots__ = ()

    @property
    def summary(self) -> Summary:
        """What is shown of it."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {printable(self.summary.title)}>"

    def _repr_html_(self) -> str:
        """Return a table for notebooks; all text is escaped."""
        from html import escape  # noqa: PLC0415 - with its table of entities, only where a notebook asks

        summary = self.summary
        parts = [f"<p>{escape(f'{type(self).__name__}: {printable(summary.title)}')}</p>"]
        if summary.rows:
            head = "".join(f'<th style="{_STYLE}">{escape(name)}</th>' for name in summary.rows[0])
            body = "".join(f"<tr>{''.join(map(_cell, row.values()))}</tr>" for row in summary.rows[:_SHOWN])
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        more = _more(summary)
        return "".join([*parts, *(f"<p>{line}</p>" for line in more)])

    def __rich__(self) -> "RenderableType":
        """Return a table for rich."""
        from rich.console import Group  # noqa: PLC0415 - only where rich asks
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        summary = self.summary
        table = Table(title=Text(f"{type(self).__name__}: {printable(summary.title)}"), title_justify="left")
        for name in summary.rows[0] if summary.rows else ():
            table.add_column(Text(name), overflow="fold")
        for row in summary.rows[:_SHOWN]:
            table.add_row(*(Text(_words(value)) for value in row.values()))
        return Group(table, *map(Text, _more(summary)))

    def to_pandas(self) -> Any:
        """Return the rows as a `pandas.DataFrame`, all of them. Raises: ImportError without pandas."""
        try:
            pandas = import_module("pandas")  # the caller's: nothing here depends on it
        except ImportError as error:
            raise ImportError(f"to_pandas needs pandas: pip install pandas ({error})") from error
        return pandas.DataFrame([dict(row) for row in self.summary.rows])


def _more(summary: Summary) -> list[str]:
    more = len(summary.rows) - _SHOWN
    return [f"and {more:,} more; to_pandas() has all rows"] if more > 0 else []


def _cell(value: object) -> str:
    from html import escape  # noqa: PLC0415 - as above

    return f'<td style="{_STYLE}">{escape(_words(value))}</td>'


def _words(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return number_words(value) if isinstance(value, float) else printable(str(value))
