"""Curves of predicted error as a picture, with matplotlib, which is imported with this module."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final

from matplotlib.figure import Figure

from pruning_client.cli.tables import printable, shorten
from pruning_client.results.report import CurvePoint, Report

_NAMED: Final = 8
"""Curves with a name: those of the largest errors at the last sparsity. The others are gray."""

_COLORS: Final = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442", "#000000")
"""Okabe and Ito's, which colour-blind people can tell apart."""

_DASHES: Final = ("-", "--", "-.", ":")

_NAME_COLUMNS: Final = 48


def scan_picture(report: Report, kind: str) -> bytes:
    """Return the curves of a scan as a picture of this kind: "png", "svg" or "pdf"."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    curves = _curves(report)
    for number, (name, points) in reversed(list(enumerate(curves))):
        x, y = [100 * point.sparsity for point in points], [point.predicted_error for point in points]
        if number < _NAMED:
            style: dict[str, Any] = {
                "color": _COLORS[number],
                "linestyle": _DASHES[number % len(_DASHES)],
                "label": name,
            }
            axes.plot(x, y, marker="o", markersize=3, zorder=3, **style)
        else:
            axes.plot(x, y, color="#b0b8c0", linewidth=0.8)
    is_weak = any(point.is_weak for _, points in curves for point in points)
    axes.set_xlabel("sparsity, %")
    axes.set_ylabel("||W - W'|| / ||W||" if is_weak else "predicted error, ||(W - W') X|| / ||W X||")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    legend = axes.legend(handles[::-1], labels[::-1], fontsize="small", title=_title(len(curves)))
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may have $ in it
    target = BytesIO()
    figure.savefig(target, format=kind, dpi=150)
    return target.getvalue()


def _curves(report: Report) -> list[tuple[str, Sequence[CurvePoint]]]:
    """Return the curves, by the tensor's name and, of several rules, the rule; those of large errors first."""
    has_rules = len({point.rule for tensor in report.tensors for point in tensor.curve}) > 1
    found = []
    for tensor in report.tensors:
        for rule in sorted({point.rule for point in tensor.curve}):
            name = shorten(printable(tensor.name), _NAME_COLUMNS)
            label = f" {name}, rule {rule}" if has_rules else f" {name}"  # one that begins with _ would be left out
            found.append((label, [point for point in tensor.curve if point.rule == rule]))
    return sorted(found, key=lambda curve: -curve[1][-1].predicted_error)


def _title(count: int) -> str | None:
    return f"the {_NAMED} largest of {count:,}" if count > _NAMED else None
