"""What was done, as the server reports it: frozen values."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from typing import Any, Protocol

from pruning_client.pages.shown import Shown, Summary
from pruning_client.results.group_report import GroupReport as GroupReport  # noqa: PLC0414 - a name of this module
from pruning_client.results.group_report import group_of
from pruning_client.results.model_totals import ModelTotals, model_of
from pruning_client.results.model_warning import ModelWarning
from pruning_client.results.plan import Plan, TensorPlan, warning_of
from pruning_client.results.tensor_report import CurvePoint as CurvePoint  # noqa: PLC0414 - and the next, too
from pruning_client.results.tensor_report import TensorReport as TensorReport  # noqa: PLC0414
from pruning_client.results.tensor_report import part_of
from pruning_proto.counted import counted
from pruning_proto.v1 import pruning_pb2 as pb


class HasDict(Protocol):
    """A value that can be shown as JSON: a `Recipe`, which this module does not import."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can represent it."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Report(Shown):
    """What was done to all selected parameters, in the file's order.

    `entries`, `pruned_before` and `pruned` are sums over them. `seconds` is wall time by stage ("receive", "prune",
    "send", "total", and "search" where tensors were read from disk; stages overlap). `seed` repeats the call's random
    choices; without a random rule it has no meaning.
    `reproducible`: whether the same request gives the same bytes on any device. `input_sha256` and `result_sha256`, in
    hex, are of the files as received and as sent; None if digests were not asked for, or there is no result. `groups`
    are those of rules about units. `result_bytes` is the size of the resulting file, None where there is none.
    `negative_zeros` counts the entries of -0.0 that a packed result had before packing, 0 for other output formats.
    `model` are sums over all tensors, selected or not; `largest_not_selected` are up to ten that no rule selects, each
    with the reason. `warnings` are what a person should look at, such as a tensor without weights that are left.
    `plan` is what was announced; it has all tensors, and is not in `to_dict`. None for a report of several calls.

    Example:
        >>> report = client.dry_run("model.safetensors", rules.l1_unstructured(0.5))
        >>> report.sparsity, report.model.entries
        (0.5, 96)
    """

    tensors: tuple[TensorReport, ...]
    entries: int
    pruned_before: int
    pruned: int
    seconds: Mapping[str, float]
    device: str
    seed: int
    version: str
    reproducible: bool
    request_id: str
    input_sha256: str | None = None
    result_sha256: str | None = None
    groups: tuple[GroupReport, ...] = ()
    result_bytes: int | None = None
    negative_zeros: int = 0
    model: ModelTotals | None = None
    largest_not_selected: tuple[TensorPlan, ...] = ()
    warnings: tuple[ModelWarning, ...] = ()
    plan: Plan | None = field(default=None, repr=False, compare=False)

    @property
    def sparsity(self) -> float:
        """The pruned part of all entries of the selected parameters, 0.0 to 1.0."""
        return part_of(self.pruned, self.entries)

    @property
    def facts(self) -> tuple[tuple[str, str | None], ...]:
        """How it was made, in words: pairs of a label and a text, None where it is not known."""
        seconds = self.seconds.get("total")
        return (
            ("version", self.version),
            ("device", self.device),
            ("seed", str(self.seed)),
            ("same bytes on any device", "yes" if self.reproducible else "no"),
            ("seconds", None if seconds is None else f"{seconds:.3f}"),
            ("request", self.request_id),
            ("SHA-256 of the input", self.input_sha256),
            ("SHA-256 of the result", self.result_sha256),
        )

    @property
    def summary(self) -> Summary:
        """What notebooks and terminals show of it: a row for each selected tensor."""
        selected = f"{self.sparsity:.2%} of {self.entries:,} selected weights pruned"
        parts = [selected, counted(len(self.tensors), "tensor")]
        parts += [counted(len(self.warnings), "warning")] if self.warnings else []
        return Summary(", ".join(parts), [_row(tensor) for tensor in self.tensors])

    def with_warnings(self, *warnings: ModelWarning) -> "Report":
        """Return the report with more warnings."""
        return replace(self, warnings=(*self.warnings, *warnings))

    def to_html(
        self,
        *,
        before: str | PathLike[str] | None = None,
        after: str | PathLike[str] | None = None,
        recipe: "HasDict | Mapping[str, Any] | None" = None,
        title: str = "Pruning report",
    ) -> str:
        """Return the report as one HTML file, for a browser: it asks nothing of a network, and escapes all names.

        With the paths of the models `before` and `after` (files, indexes of shards, or folders) it shows how |w| are
        distributed, which needs numpy, and the zeros of tensors that no rule selects. A `Recipe`, or its dict, is
        shown as the JSON that `prune run --recipe` reads.

        Cost: reads both models once. Raises: OSError. CheckpointError.
        Example:
            >>> _ = Path("report.html").write_text(report.to_html(before="model.safetensors"), encoding="utf-8")
        """
        from pruning_client.pages.page import page_html  # noqa: PLC0415 - with the scripts of a page
        from pruning_client.results.report_page import report_content  # noqa: PLC0415

        shown = recipe if recipe is None or isinstance(recipe, Mapping) else recipe.to_dict()
        return page_html(report_content(self, before=before, after=after, recipe=shown, title=title))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can represent it, sparsities included."""
        fields = asdict(replace(self, plan=None))
        del fields["plan"]
        fields["sparsity"] = self.sparsity
        fields["seed"] = str(self.seed)  # as in protobuf's JSON mapping: many readers have 53 bits
        fields["tensors"] = [_json_tensor(tensor) for tensor in self.tensors]
        fields["model"] = None if self.model is None else self.model.to_dict()
        fields["largest_not_selected"] = [_json_not_selected(tensor) for tensor in self.largest_not_selected]
        return fields


def _row(tensor: TensorReport) -> dict[str, Any]:
    return {
        "tensor": tensor.name,
        "entries": tensor.entries,
        "pruned": tensor.pruned,
        "sparsity": tensor.sparsity,
        "threshold": tensor.threshold,
        "predicted_error": tensor.predicted_error,
    }


def report_of(messages: Iterable[pb.Report], plan: Plan | None = None) -> Report:
    """Return the report in these messages; the last one has the totals. What it takes from the plan has no message."""
    parts = list(messages)
    last = parts[-1]
    return Report(
        tensors=tuple(_tensor(tensor) for part in parts for tensor in part.tensors),
        entries=last.totals.entries,
        pruned_before=last.totals.pruned_before,
        pruned=last.totals.pruned,
        seconds=dict(last.stage_seconds),
        device=last.device,
        seed=last.seed,
        version=last.version,
        reproducible=last.reproducible,
        request_id=last.request_id,
        input_sha256=last.input_sha256 or None,
        result_sha256=last.result_sha256 or None,
        groups=tuple(group_of(group) for part in parts for group in part.groups),
        result_bytes=last.result_bytes if last.HasField("result_bytes") else None,
        negative_zeros=last.negative_zeros,
        model=model_of(last.model) if last.HasField("model") else None,
        largest_not_selected=() if plan is None else plan.largest_not_selected,
        warnings=tuple(warning_of(warning) for part in parts for warning in part.warnings),
        plan=plan,
    )


def _tensor(tensor: pb.TensorReport) -> TensorReport:
    return TensorReport(
        name=tensor.name,
        entries=tensor.entries,
        pruned_before=tensor.pruned_before,
        pruned=tensor.pruned,
        threshold=tensor.threshold if tensor.HasField("threshold") else None,
        zeros_before=tensor.zeros_before if tensor.HasField("zeros_before") else None,
        zeros=tensor.zeros if tensor.HasField("zeros") else None,
        masked_error=tensor.masked_error if tensor.HasField("masked_error") else None,
        predicted_error=tensor.predicted_error if tensor.HasField("predicted_error") else None,
        damping=tensor.damping if tensor.HasField("damping") else None,
        curve=tuple(map(_point, tensor.curve)),
    )


def _point(point: pb.CurvePoint) -> CurvePoint:
    return CurvePoint(
        rule=point.rule, sparsity=point.sparsity, predicted_error=point.predicted_error, is_weak=point.is_weak
    )


def _json_tensor(tensor: TensorReport) -> dict[str, Any]:
    fields = asdict(tensor) | {"sparsity": tensor.sparsity}
    for name in ("threshold", "masked_error", "predicted_error"):
        if fields[name] is not None and math.isinf(fields[name]):
            fields[name] = "Infinity"  # as in protobuf's JSON mapping: JSON has no such number
    for point in fields["curve"]:
        if math.isinf(point["predicted_error"]):
            point["predicted_error"] = "Infinity"
    return fields


def _json_not_selected(tensor: TensorPlan) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": tensor.shape,
        "entries": tensor.entries,
        "reason": tensor.not_selected,
    }
