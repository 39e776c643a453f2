"""What a search found: every evaluation, a table and a plot."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from os import PathLike, fspath
from typing import Any

from pruning_client.calls.request import Rules
from pruning_client.pages.shown import Shown, Summary


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of a pruned model.

    `amounts` are by group; of `find_amount` the one group is called "all". `sparsity` is the part of the selected
    weights that was pruned, of all groups together. `score` is what the caller's function returned, and `loss` how much
    worse it is than that of the dense model. `is_probe`: one group alone was pruned, to measure its sensitivity.

    Units: `sparsity` and `amounts` are parts, 0.0 to 1.0; `score` and `loss` are in the unit of the caller's function.
    Example:
        >>> find_amount(client, model, rules.l1_unstructured, evaluate, max_loss=0.1, most_evaluations=1).best.amounts
        {'all': 0.0}
    """

    amounts: Mapping[str, float]
    sparsity: float
    score: float
    loss: float
    is_probe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FoundAmounts(Shown):
    """The largest amounts that were found whose measured loss is within the limit. `str` of it is a table.

    Notebooks and rich show the curve as a table, sorted by sparsity; `to_pandas` returns it, and `plot` draws it.

    Attributes:
        best: the evaluation with them; the dense model's if none is within the limit.
        rules: rules with these amounts, to prune with; None if the best is the dense model.
        history: all evaluations, in order, the dense model's first.
        max_loss: the limit, in the unit of the caller's score.
    Example:
        >>> found = find_amount(client, model, rules.l1_unstructured, evaluate, max_loss=0.1, most_evaluations=3)
        >>> [point.loss for point in found.curve] == sorted(point.loss for point in found.curve)
        True
        >>> found.plot("amounts.png")
    """

    best: Evaluation
    rules: Rules | None
    history: tuple[Evaluation, ...]
    max_loss: float

    @property
    def amount(self) -> float:
        """The amount, of a search without groups. Raises: ValueError for one with groups."""
        if len(self.best.amounts) != 1:
            raise ValueError("there are several groups: see `amounts`")
        return next(iter(self.best.amounts.values()))

    @property
    def amounts(self) -> Mapping[str, float]:
        """The amount of each group."""
        return self.best.amounts

    @property
    def sparsity(self) -> float:
        """The part of the selected weights that the best amounts prune."""
        return self.best.sparsity

    @property
    def curve(self) -> tuple[Evaluation, ...]:
        """The evaluations by sparsity, without those of one group alone: the loss over what is pruned."""
        together = (each for each in self.history if not each.is_probe)
        return tuple(sorted(together, key=lambda each: each.sparsity))

    @property
    def summary(self) -> Summary:
        """What notebooks and terminals show of it: a row for each evaluation, by sparsity."""
        probes = sorted((each for each in self.history if each.is_probe), key=lambda each: each.sparsity)
        title = f"{self.sparsity:.2%} at a loss of {self.best.loss:.4g}, {self.max_loss:g} is allowed"
        return Summary(title, [self._row(each) for each in (*self.curve, *probes)])

    def _row(self, evaluation: Evaluation) -> dict[str, Any]:
        measured = {"sparsity": evaluation.sparsity, "score": evaluation.score, "loss": evaluation.loss}
        return {**evaluation.amounts, **measured, "": self._remark(evaluation)}

    def __str__(self) -> str:
        groups = list(self.best.amounts)
        widths = [max(len(name), 6) for name in groups]
        names = "  ".join(f"{name:>{width}}" for name, width in zip(groups, widths, strict=True))
        lines = [f"{names}  sparsity  {'score':>12}  {'loss':>12}"]
        for evaluation in self.history:
            amounts = "  ".join(
                f"{evaluation.amounts[name]:{width}.3f}" for name, width in zip(groups, widths, strict=True)
            )
            lines.append(
                f"{amounts}  {evaluation.sparsity:8.2%}  {evaluation.score:12.6g}  {evaluation.loss:12.6g}"
                f"  {self._remark(evaluation)}".rstrip()
            )
        return "\n".join(lines)

    def _remark(self, evaluation: Evaluation) -> str:
        if evaluation is self.best:
            return "<- best"
        if evaluation.is_probe:
            return "one group alone"
        return "" if evaluation.loss <= self.max_loss else "over the limit"

    def plot(self, path: str | PathLike[str]) -> None:
        """Write a plot of the measured losses over sparsity; the format is that of the file's suffix, such as .png.

        Raises: ImportError without matplotlib. OSError.
        """
        try:
            figure = import_module("matplotlib.figure").Figure(figsize=(7, 4.5), layout="constrained")
        except ImportError as error:
            raise ImportError(f"plot needs matplotlib: pip install 'pruning-service[plot]' ({error})") from error
        axes = figure.subplots()
        kinds = {
            "one group alone": [each for each in self.history if each.is_probe],
            "evaluated": self.curve,
            "best": [self.best],
        }
        for (label, evaluations), style in zip(kinds.items(), ("x", "o-", "*"), strict=True):
            if evaluations:
                sparsities, losses = ([each.sparsity for each in evaluations], [each.loss for each in evaluations])
                axes.plot(sparsities, losses, style, label=label, markersize=14 if label == "best" else 6)
        axes.axhline(self.max_loss, color="gray", linestyle="--", label="limit")
        axes.set_xlabel("sparsity of the selected weights")
        axes.set_ylabel("measured loss")
        axes.set_yscale("symlog", linthresh=max(self.max_loss, 1e-9))
        axes.legend()
        figure.savefig(fspath(path))
