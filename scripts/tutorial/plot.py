"""The plot of accuracy over sparsity."""

from pathlib import Path
from statistics import fmean
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.tutorial.curves import Curves, Point

STYLES: Final = {
    "magnitude, in rounds": ("#0072B2", "o-", "magnitude, in rounds with fine-tuning"),
    "channels, in rounds": ("#009E73", "s-", "channels removed, in rounds with fine-tuning"),
    "magnitude, at once": ("#0072B2", "o:", "magnitude, at once"),
    "channels, at once": ("#009E73", "s:", "channels removed, at once"),
    "random, at once": ("#D55E00", "x:", "random, at once"),
}
"""Colours for readers with colour vision deficiency (Okabe and Ito); dotted lines are models without fine-tuning."""

TICKS: Final = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
GREY: Final = "#666666"


def save_plot(curves: Curves, path: Path) -> None:
    """Draw the mean of the models as a line and their range as a band."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, (color, line, label) in STYLES.items():
        _draw(axes, curves[name], color, line, label)
    _label(axes, len(curves["random, at once"]))
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=120, metadata={"Software": None})  # the same picture is the same file


def _draw(axes: Axes, models: list[list[Point]], color: str, line: str, label: str) -> None:
    left = [fmean(part for part, _ in points) for points in zip(*models, strict=True)]
    read = [[accuracy for _, accuracy in points] for points in zip(*models, strict=True)]
    axes.plot(left, [fmean(each) for each in read], line, color=color, label=label, markersize=4, linewidth=1.6)
    axes.fill_between(left, [min(each) for each in read], [max(each) for each in read], color=color, alpha=0.12, lw=0)


def _label(axes: Axes, models: int) -> None:
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.set_xticks([1 - tick for tick in TICKS], [f"{tick:.3g}" for tick in (100 * tick for tick in TICKS)])
    axes.minorticks_off()
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    axes.axhline(0.1, color=GREY, linewidth=0.8)
    axes.annotate("chance", (1, 0.1), (2, 3), textcoords="offset points", color=GREY, fontsize=8)
    axes.set_xlabel("pruned weights in %, logarithmic in the remaining ones")
    axes.set_ylabel("test accuracy in %")
    axes.set_title(f"LeNet on handwritten digits: mean and range of {models} models", fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
