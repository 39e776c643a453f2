"""Curves of predicted error as text for people: a row for each tensor and rule."""

from collections.abc import Sequence
from typing import Final

from pruning_client.cli.tables import Table, largest, shown_line
from pruning_client.results.report import CurvePoint, Report, TensorReport

_BARS: Final = "▁▂▃▄▅▆▇█"
_MOST_COLUMNS: Final = 4
"""Sparsities that have a column of numbers; the bars show all."""

_WEAK: Final = "without statistics of the inputs these are ||W - W'|| / ||W||, which says little about the model"
_NOTE: Final = (
    "predicted error of each layer's outputs, ||(W - W') X|| / ||W X||; it compares amounts of one method: evaluate "
    "the model to choose one"
)


def scan_text(report: Report, width: int | None, top: int | None = None) -> str:
    """Return the curves as a table, of the `top` largest tensors."""
    shown = largest(report.tensors, top, lambda tensor: tensor.entries)
    rules = sorted({point.rule for tensor in report.tensors for point in tensor.curve})
    sparsities = sorted({_percent(point) for tensor in report.tensors for point in tensor.curve})
    columns = _chosen(sparsities)
    rule_column = ("rule",) if len(rules) > 1 else ()
    head = ("tensor", "entries", *rule_column, *(f"{each}%" for each in columns), "curve")
    rows = [
        _row(tensor, rule, columns, has_rules=len(rules) > 1)
        for tensor in shown
        for rule in rules
        if any(point.rule == rule for point in tensor.curve)
    ]
    is_weak = any(point.is_weak for tensor in report.tensors for point in tensor.curve)
    lines = [
        Table(head, rows, optional=_optional(head)).render(width),
        *shown_line(len(shown), len(report.tensors)),
        "",
    ]
    return "\n".join([*lines, _WEAK if is_weak else _NOTE, f"on {report.device}"])


def _percent(point: CurvePoint) -> int:
    """Return a sparsity in whole percent: counts of whole weights make it differ a little between tensors."""
    return round(100 * point.sparsity)


def _chosen(sparsities: Sequence[int]) -> Sequence[int]:
    """Return which sparsities have a column: all if they are few, else some at even distances, the last included."""
    if len(sparsities) <= _MOST_COLUMNS:
        return sparsities
    step = (len(sparsities) - 1) / _MOST_COLUMNS
    return [sparsities[round(number * step)] for number in range(1, _MOST_COLUMNS + 1)]


def _optional(head: Sequence[str]) -> Sequence[str]:
    """Return the columns to leave out on a narrow terminal: entries, then every second sparsity; the curve has all."""
    sparsities = [each for each in head if each.endswith("%")]
    return ("entries", *sparsities[::2])


def _row(tensor: TensorReport, rule: int, columns: Sequence[int], *, has_rules: bool) -> tuple[str, ...]:
    points = [point for point in tensor.curve if point.rule == rule]
    errors = {_percent(point): point.predicted_error for point in points}
    numbers = (f"{errors[percent]:.3f}" if percent in errors else "-" for percent in columns)
    return (tensor.name, f"{tensor.entries:,}", *((str(rule),) if has_rules else ()), *numbers, _bars(points))


def _bars(points: Sequence[CurvePoint]) -> str:
    """Return a curve as bars; a full one is an error of 1, as if the layer were gone."""
    last = len(_BARS) - 1
    return "".join(_BARS[min(last, max(0, round(point.predicted_error * last)))] for point in points)
