"""Tables of a page: rows in HTML, with the values that the script sorts by."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pruning_client.models.printable import printable
from pruning_client.pages.content import TensorFacts
from pruning_client.pages.kinds import kind_of
from pruning_client.pages.words import number_words, percent_words


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: its text, and the number that it is sorted by; texts are sorted by themselves."""

    text: str
    number: float | None = None

    @property
    def html(self) -> str:
        """The cell, escaped."""
        if self.number is None:
            return f"<td>{broken(self.text)}</td>"
        return f'<td class="n" data-v="{self.number:.6g}">{escape(self.text)}</td>'


def broken(text: str) -> str:
    """Return a name, escaped, that may be broken after each dot."""
    return escape(printable(text)).replace(".", ".<wbr>")


def number(value: int) -> Cell:
    """Return a cell of a count."""
    return Cell(f"{value:,}", value)


def share(part: int | None, total: int) -> Cell:
    """Return a cell of a part in percent; empty if it is not known."""
    return Cell("-", -1) if part is None else Cell(percent_words(part, total), part / total if total else 0.0)


def amount(value: float | None) -> Cell:
    """Return a cell of a number in few digits; empty if there is none."""
    return Cell("-", -1) if value is None else Cell(number_words(value), value if abs(value) < 1e300 else 1e300)


def table_html(name: str, caption: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]], foot: str = "") -> str:
    """Return a table that can be sorted by each column. The first cell of a row is its head."""
    head = "".join(f'<th scope="col"><button type="button">{escape(each)}</button></th>' for each in heads)
    body = "\n".join(_row(row) for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}, scrollable">'
        f'<table class="sortable" id="{name}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody>{foot}</table></div>"
    )


def _row(row: Sequence[Cell]) -> str:
    name = f'<th scope="row">{broken(row[0].text)}</th>'
    return f"<tr>{name}{''.join(cell.html for cell in row[1:])}</tr>"


def tensors_html(tensors: Sequence[TensorFacts], *, has_before: bool) -> str:
    """Return the section with all tensors."""
    has_rules = any(tensor.is_selected is not None for tensor in tensors)
    has_errors = any(tensor.predicted_error is not None for tensor in tensors)
    has_thresholds = any(tensor.threshold is not None for tensor in tensors)
    heads = ["tensor", "kind", "dtype", "shape", "entries", "zeros"]
    heads += (
        ["zeros before"] * has_before + ["largest pruned score"] * has_thresholds + ["predicted error"] * has_errors
    )
    heads += ["selected"] * has_rules

    def row(tensor: TensorFacts) -> list[Cell]:
        cells = [
            Cell(tensor.name),
            Cell(kind_of(tensor.name, tensor.shape)),
            Cell(tensor.dtype),
            Cell("x".join(map(str, tensor.shape)) or "scalar"),
            number(tensor.entries),
            Cell("removed", 2) if tensor.is_removed else share(tensor.zeros, tensor.entries),
        ]
        cells += [share(tensor.zeros_before, tensor.had)] * has_before
        cells += [amount(tensor.threshold)] * has_thresholds
        cells += [amount(tensor.predicted_error)] * has_errors
        return cells + [Cell("yes" if tensor.is_selected else tensor.why_not or "no")] * has_rules

    table = table_html("tensors", "Tensors", heads, [row(tensor) for tensor in tensors])
    return (
        '<section aria-labelledby="tensors-title"><h2 id="tensors-title">All tensors</h2>'
        '<p class="tools"><label for="filter">Names that contain</label> <input id="filter" type="search"> '
        f'<span id="count" aria-live="polite"></span></p>{table}</section>'
    )


def why_not_html(tensors: Sequence[TensorFacts]) -> str:
    """Return the section with the tensors that no rule selects, by reason; nothing if there are none."""
    others = [tensor for tensor in tensors if tensor.is_selected is False and not tensor.is_removed]
    if not others:
        return ""
    total = sum(tensor.entries for tensor in tensors)
    rows = []
    for reason in dict.fromkeys(tensor.why_not or "unknown" for tensor in others):
        found = [tensor for tensor in others if (tensor.why_not or "unknown") == reason]
        entries = sum(tensor.entries for tensor in found)
        largest = max(found, key=lambda tensor: tensor.entries)
        rows.append([Cell(reason), number(len(found)), number(entries), share(entries, total), Cell(largest.name)])
    rows.sort(key=lambda row: -(row[2].number or 0))
    heads = ("reason", "tensors", "parameters", "of the model", "largest")
    table = table_html("why-not", "Tensors that no rule selects", heads, rows)
    return f'<section aria-labelledby="not-title"><h2 id="not-title">Not selected, and why</h2>{table}</section>'
