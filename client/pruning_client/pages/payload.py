"""What the page's script draws, as JSON that can be inside of an HTML file."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pruning_client.models.magnitudes_value import Magnitudes
from pruning_client.models.printable import printable
from pruning_client.pages.content import TensorFacts
from pruning_client.pages.kinds import place_of

_MOST_BINS: Final = 64
"""Of a distribution: four for each power of two; what is smaller is in the first."""

_MOST_ROWS: Final = 60
"""Of the heat map: those of the most entries."""

_SHARE: Final = 10_000
"""Counts are in parts of this of a tensor's entries."""


def script_json(value: object) -> str:
    """Return JSON that ends no script element, whatever its strings are: `<` is written as an escape."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def payload(shown: Sequence[TensorFacts], everything: Iterable[TensorFacts]) -> dict[str, Any]:
    """Return the tensors that the page lists, and the cells of the heat map, of all tensors."""
    rows, cells = _heat_map(everything)
    return {"tensors": [_tensor(tensor) for tensor in shown], "rows": rows, "cells": cells}


def _tensor(tensor: TensorFacts) -> dict[str, Any]:
    fields = {
        "name": printable(tensor.name),
        "selected": tensor.is_selected or None,
        "cut": _finite(tensor.cut),
        "error": _finite(tensor.predicted_error),
        "before": _bins(tensor.before),
        "after": _bins(tensor.after),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _finite(value: float | None) -> float | None:
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


def _bins(distribution: Magnitudes | None) -> list[int] | None:
    """Return the number of the first bin, then shares. Bin k begins at 2^(k // 4) * (1 + (k % 4) / 4)."""
    if distribution is None or not distribution.counts:
        return None
    found: dict[int, int] = {}
    for edge, count in zip(distribution.edges, distribution.counts, strict=False):
        fraction, power = math.frexp(edge)
        number = 4 * (power - 1) + int((2 * fraction - 1) * 4)
        found[number] = found.get(number, 0) + count
    total = sum(distribution.counts) + distribution.zeros + distribution.non_finite
    last = max(found)
    first = max(min(found), last - _MOST_BINS + 1)
    shares = [0.0] * (last - first + 1)
    for number, count in found.items():
        shares[max(number, first) - first] += count / total * _SHARE
    rounded = [round(share) for share in shares]
    leading = next((at for at, share in enumerate(rounded) if share), 0)
    return [first + leading, *rounded[leading:]]


def _heat_map(tensors: Iterable[TensorFacts]) -> tuple[list[str], list[list[Any]]]:
    """Return rows, and cells: a row's position, a depth or null, the part that is zero, entries, and their tensors.

    Vectors are left out: they are rarely pruned, and as many as the matrices.
    """
    sums: dict[tuple[str, int | None], list[int]] = {}
    for tensor in tensors:
        if len(tensor.shape) < 2 or tensor.zeros is None or tensor.is_removed:
            continue
        place = place_of(tensor.name)
        cell = sums.setdefault((place.row, place.depth), [0, 0, 0])
        for at, value in enumerate((tensor.zeros, tensor.entries, 1)):
            cell[at] += value
    sizes: dict[str, int] = {}
    for (row, _), (_, entries, _) in sums.items():
        sizes[row] = sizes.get(row, 0) + entries
    largest = set(sorted(sizes, key=lambda row: -sizes[row])[:_MOST_ROWS])
    rows = [row for row in sizes if row in largest]
    positions = {row: at for at, row in enumerate(rows)}
    return [printable(row) for row in rows], [*_cells(sums, positions)]


def _cells(sums: dict[tuple[str, int | None], list[int]], positions: dict[str, int]) -> Iterator[list[Any]]:
    for (row, depth), (zeros, entries, count) in sums.items():
        if row in positions:
            yield [positions[row], depth, round(zeros / entries, 4) if entries else 0.0, entries, count]
