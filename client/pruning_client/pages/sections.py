"""Sections of a page other than the tables of tensors: sums, warnings, the recipe, and facts."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Final

from pruning_client.models.printable import printable
from pruning_client.pages.content import PageContent, TensorFacts, counts_of
from pruning_client.pages.kinds import KINDS, kind_of
from pruning_client.pages.tables import Cell, number, share, table_html
from pruning_client.pages.words import bytes_words, change_words, percent_words

_SHOWN: Final = 5
"""Warnings of each kind that are shown at once."""


def kinds_html(content: PageContent) -> str:
    """Return the section with the sums of each kind of layer."""
    by_kind: dict[str, list[TensorFacts]] = {kind: [] for kind in KINDS}
    for tensor in content.tensors:
        by_kind[kind_of(tensor.name, tensor.shape)].append(tensor)
    rows = [_sums(kind, tensors, content) for kind, tensors in by_kind.items() if tensors]
    heads = ["kind of layer", "tensors", *_heads(content)]
    foot = "".join(cell.html for cell in _sums_of_model(content))
    foot = f'<tfoot><tr><th scope="row">whole model</th>{foot}</tr></tfoot>'
    table = table_html("kinds", "Sums by kind of layer", heads, rows, foot)
    bars = "".join(_bar(kind, tensors) for kind, tensors in by_kind.items() if tensors)
    return (
        f'<section aria-labelledby="kinds-title"><h2 id="kinds-title">The whole model</h2>{table}'
        f'<div class="bars" role="img" aria-label="Zeros by kind of layer, as in the table above">{bars}</div>'
        '<p class="legend" aria-hidden="true"><span class="key left"></span> not zero '
        '<span class="key zero"></span> zero</p></section>'
    )


def _changes_size(content: PageContent) -> bool:
    """Whether the model has another number of parameters after."""
    return content.has_before and any(tensor.had != tensor.has for tensor in content.tensors)


def _heads(content: PageContent) -> list[str]:
    sizes = ["parameters", "bytes"]
    if _changes_size(content):
        sizes = ["parameters before", "parameters", "bytes before", "bytes"]
    return [*sizes, *(["zeros before"] if content.has_before else []), "zeros"]


def _sums(kind: str, tensors: Sequence[TensorFacts], content: PageContent) -> list[Cell]:
    had, has = sum(tensor.had for tensor in tensors), sum(tensor.has for tensor in tensors)
    bytes_had = sum(tensor.bytes_of(tensor.had) for tensor in tensors)
    bytes_has = sum(tensor.bytes_of(tensor.has) for tensor in tensors)
    sizes = [number(has), Cell(bytes_words(bytes_has), bytes_has)]
    if _changes_size(content):
        sizes = [number(had), sizes[0], Cell(bytes_words(bytes_had), bytes_had), sizes[1]]
    zeros = [_zeros([(tensor.zeros_before, tensor.had) for tensor in tensors])] if content.has_before else []
    after = _zeros([(tensor.zeros, tensor.entries) for tensor in tensors if not tensor.is_removed])
    counts = counts_of(tensors, has_before=content.has_before)
    count = Cell(change_words(*(f"{each:,}" for each in counts)), counts[1])
    return [Cell(kind), count, *sizes, *zeros, after]


def _sums_of_model(content: PageContent) -> list[Cell]:
    """Return the sums of all tensors; of their zeros, also where not all tensors were read."""
    found = [*([content.zeros_before] if content.has_before else []), content.zeros]
    shares = [share(None, 0) if count is None else share(*count) for count in found]
    return [*_sums("", content.tensors, content)[1 : -len(shares)], *shares]


def _zeros(counts: Sequence[tuple[int | None, int]]) -> Cell:
    known = [(zeros, entries) for zeros, entries in counts if zeros is not None]
    if not known:
        return share(None, 0)
    return share(sum(zeros for zeros, _ in known), sum(entries for _, entries in known))


def _bar(kind: str, tensors: Sequence[TensorFacts]) -> str:
    known = [tensor for tensor in tensors if tensor.zeros is not None and not tensor.is_removed]
    if not known:
        return ""
    entries, zeros = sum(tensor.entries for tensor in known), sum(tensor.zeros or 0 for tensor in known)
    part = 100 * zeros / entries if entries else 0.0
    return (
        f'<div class="bar"><span class="label">{escape(kind)}</span><span class="track">'
        f'<span class="zero" style="width:{part:.2f}%"></span></span>'
        f'<span class="value">{percent_words(zeros, entries)}</span></div>'
    )


def warnings_html(content: PageContent) -> str:
    """Return the section with the warnings, each with its kind."""
    if not content.warnings:
        return ""
    first, others = _few_of_each_kind(content.warnings)
    items = "".join(map(_warning, first))
    more = "".join(map(_warning, others))
    more = f"<details><summary>{len(others):,} more like these</summary><ul>{more}</ul></details>" if others else ""
    return (
        '<section aria-labelledby="warnings-title" class="warnings"><h2 id="warnings-title">Warnings '
        f"({len(content.warnings):,})</h2><ul>{items}</ul>{more}</section>"
    )


def _few_of_each_kind(
    warnings: Sequence[tuple[str, str]],
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the first warnings of each kind, and the others: a model may have thousands of tensors."""
    counts: Counter[str] = Counter()
    found: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for warning in warnings:
        counts[warning[0]] += 1
        found[counts[warning[0]] > _SHOWN].append(warning)
    return found


def _warning(warning: tuple[str, str]) -> str:
    kind, message = warning
    return f"<li><strong>{_text(kind)}</strong> {_text(message)}</li>"


def removed_html(content: PageContent) -> str:
    """Return the section with the groups of which units were removed."""
    if not content.removed:
        return ""
    rows = [
        [Cell(name), number(units), number(kept), share(units - kept, units)] for name, units, kept in content.removed
    ]
    table = table_html("removed", "Groups of units", ("group", "units", "kept", "removed"), rows)
    return f'<section aria-labelledby="removed-title"><h2 id="removed-title">Units removed</h2>{table}</section>'


def recipe_html(content: PageContent) -> str:
    """Return the section with the rules."""
    if not content.recipe and not content.recipe_json:
        return ""
    items = "".join(f"<li>{_text(line)}</li>" for line in content.recipe)
    lines = f"<ul>{items}</ul>" if items else ""
    json = ""
    if content.recipe_json:
        text = _text_lines(content.recipe_json)
        json = f'<details><summary>The recipe as --recipe reads it</summary><pre tabindex="0">{text}</pre></details>'
    return f'<section aria-labelledby="recipe-title"><h2 id="recipe-title">Recipe</h2>{lines}{json}</section>'


def facts_html(content: PageContent) -> str:
    """Return the section with versions and digests."""
    if not content.facts:
        return ""
    cells = "".join(f"<dt>{_text(label)}</dt><dd>{_text(value)}</dd>" for label, value in content.facts)
    return (
        '<section aria-labelledby="facts-title"><h2 id="facts-title">How it was made</h2>'
        f'<dl class="facts">{cells}</dl></section>'
    )


def _text(text: str) -> str:
    return escape(printable(text))


def _text_lines(text: str) -> str:
    return "\n".join(_text(line) for line in text.split("\n"))
