"""The page of a report: what was done to each tensor, and what the files before and after have in them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Protocol

from pruning_client.models.history_text import history_lines
from pruning_client.models.magnitudes_value import Magnitudes
from pruning_client.models.measured import MeasuredModel, MeasuredTensor, measure
from pruning_client.pages.content import PageContent, TensorFacts
from pruning_client.pages.from_files import notes_of
from pruning_client.results.group_report import GroupReport
from pruning_client.results.model_totals import ModelTotals
from pruning_client.results.model_warning import ModelWarning
from pruning_client.results.not_selected import why_not
from pruning_client.results.plan import Plan, TensorPlan
from pruning_client.results.tensor_report import TensorReport


class Reported(Protocol):
    """What a page shows of a `Report`."""

    @property
    def tensors(self) -> Sequence[TensorReport]:
        """What was done to the selected tensors."""

    @property
    def plan(self) -> Plan | None:
        """What was announced."""

    @property
    def groups(self) -> Sequence[GroupReport]:
        """The groups of units."""

    @property
    def model(self) -> ModelTotals | None:
        """Sums over all tensors."""

    @property
    def warnings(self) -> Sequence[ModelWarning]:
        """What a person should look at."""

    @property
    def result_bytes(self) -> int | None:
        """The size of the resulting file."""

    @property
    def facts(self) -> Sequence[tuple[str, str | None]]:
        """How it was made: pairs of a label and a text, None where it is not known."""


def report_content(
    report: Reported,
    *,
    before: str | PathLike[str] | None,
    after: str | PathLike[str] | None,
    recipe: Mapping[str, Any] | None,
    title: str,
) -> PageContent:
    """Return the page of a report, and of the models at these paths. Raises: OSError. CheckpointError."""
    models = (None if before is None else measure(before), None if after is None else measure(after))
    join = _Join({tensor.name: tensor for tensor in report.tensors}, *models)
    planned = _planned(report, models[0])
    history = () if models[1] is None else models[1].history
    return PageContent(
        title=title,
        tensors=[join.facts(tensor) for tensor in planned],
        has_before=True,
        model_zeros_before=None if report.model is None or report.plan is None else report.model.zeros_before,
        model_zeros=None if report.model is None or report.plan is None else report.model.zeros,
        total_before=sum(tensor.entries for tensor in planned),
        total_after=sum(join.entries_after(tensor) for tensor in planned),
        bytes_before=models[0].bytes if models[0] else None if report.model is None else report.model.weight_bytes,
        bytes_after=models[1].bytes if models[1] else report.result_bytes,
        facts=[(label, value) for label, value in report.facts if value],
        warnings=[(warning.kind.replace("_", " "), warning.message) for warning in report.warnings],
        recipe=history_lines(history) if history else (),
        recipe_json="" if recipe is None else json.dumps(recipe, indent=2, ensure_ascii=False),
        removed=[(group.name, group.units, len(group.kept)) for group in report.groups],
        notes=[*notes_of(*models), *_unlisted(report, models[0])],
    )


def _unlisted(report: Reported, before: MeasuredModel | None) -> list[str]:
    """Return a note where tensors that no rule selects are not known."""
    model = report.model
    if report.plan is not None and before is None and any(not tensor.rules for tensor in report.plan.tensors):
        return [
            "Zeros of tensors that no rule selects are known in sum only; by kind of layer, zeros are of the others."
        ]
    if report.plan is not None or before is not None or model is None or model.tensors <= len(report.tensors):
        return []
    return [
        f"The report lists the {len(report.tensors):,} selected of {model.tensors:,} tensors ({model.entries:,} "
        "parameters): tables and sums are of these alone."
    ]


def _planned(report: Reported, before: MeasuredModel | None) -> Sequence[TensorPlan]:
    """Return all tensors of the model; of a report without a plan, those that are known."""
    if report.plan is not None:
        return report.plan.tensors
    selected = {tensor.name: tensor.entries for tensor in report.tensors}
    known = {} if before is None else {name: (one.dtype, one.shape) for name, one in before.tensors.items()}
    for name, entries in selected.items():
        known.setdefault(name, ("", (entries,)))
    return [
        TensorPlan(name=name, dtype=dtype, shape=shape, rules=(0,) if name in selected else (), not_selected=None)
        for name, (dtype, shape) in known.items()
    ]


@dataclass(frozen=True, slots=True)
class _Join:
    """What is known of a tensor from the plan, the report and the files, together."""

    done: Mapping[str, TensorReport]
    before: MeasuredModel | None
    after: MeasuredModel | None

    def facts(self, planned: TensorPlan) -> TensorFacts:
        done = self.done.get(planned.name)
        one, other = self._measured(planned)
        return TensorFacts(
            name=planned.name,
            dtype=planned.dtype,
            shape=planned.shape if other is None else other.shape,
            entries_before=planned.entries,
            zeros_before=_first(None if done is None else done.zeros_before, None if one is None else one.zeros),
            zeros=_zeros(done, one, other),
            is_selected=bool(planned.rules),
            why_not="" if planned.rules else why_not(planned.not_selected),
            is_removed=planned.removed,
            threshold=None if done is None else done.threshold,
            cut=None if done is None or one is None else _cut(done, one.magnitudes),
            masked_error=None if done is None else done.masked_error,
            predicted_error=None if done is None else done.predicted_error,
            before=None if one is None else one.magnitudes,
            after=None if other is None else other.magnitudes,
        )

    def entries_after(self, planned: TensorPlan) -> int:
        if planned.removed:
            return 0
        _, other = self._measured(planned)
        return planned.entries if other is None else other.entries

    def _measured(self, planned: TensorPlan) -> tuple[MeasuredTensor | None, MeasuredTensor | None]:
        one = None if self.before is None else self.before.tensors.get(planned.name)
        if self.after is None or planned.removed:
            return one, None
        return one, self.after.tensors.get(planned.result_name or planned.name)


def _zeros(done: TensorReport | None, one: MeasuredTensor | None, other: MeasuredTensor | None) -> int | None:
    """Return the zeros in the result; a tensor that no rule selects is as it was."""
    if other is not None:
        return other.zeros
    if done is not None:
        return _first(done.zeros, done.pruned)
    return None if one is None else one.zeros


def _cut(done: TensorReport, before: Magnitudes | None) -> float | None:
    """Return the threshold if just the |w| up to it were pruned; scores may be others than |w|, or of one row only."""
    threshold = done.threshold
    if threshold is None or before is None:
        return None
    bins = list(zip(before.edges, before.edges[1:], before.counts, strict=False))
    surely = before.zeros + sum(count for _, end, count in bins if end <= threshold)
    at_most = before.zeros + sum(count for begin, _, count in bins if begin <= threshold)
    return threshold if surely <= done.pruned <= at_most else None


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
