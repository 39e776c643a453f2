"""Reports and plans as text for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pruning_client.cli.commands.removal_text import removal_lines, removed_text
from pruning_client.cli.packed_text import negative_zeros_lines
from pruning_client.cli.tables import Table, bytes_text, largest, percent, shape_text, shown_line
from pruning_client.results.model_totals import ModelTotals
from pruning_client.results.not_selected import why_not
from pruning_client.results.plan import Plan, TensorPlan
from pruning_client.results.report import GroupReport, Report
from pruning_proto.counted import counted

_STAGES: Final = ("receive", "search", "prune", "send")

_SHOWN: Final = 5
"""Of the largest tensors that are not selected."""


@dataclass(frozen=True, slots=True)
class ResultFacts:
    """What is known of the result: its output format, and the entries of the model that it has no more; None if not."""

    output: str | None = None
    removed: int | None = None


def report_text(
    report: Report,
    width: int | None,
    *,
    with_seed: bool,
    top: int | None = None,
    result: ResultFacts | None = None,
) -> str:
    """Return a report as a table, of the `top` largest tensors, with its seconds and device.

    `with_seed`: and its seed, which matters if a rule is random. `result`: what is known of the result.
    """
    result = result or ResultFacts()
    seed = f", seed {report.seed}" if with_seed else ""
    groups = [_groups_text(report, width, result.output), ""] if report.groups else []
    only_units = bool(report.groups) and not report.tensors
    lines = [
        *groups,
        *(_unit_lines(report) if only_units else _weight_lines(report, width, top, _zeros_lines(report, result))),
        _seconds(report),
        f"on {report.device}{seed}",
        *_digests(report),
    ]
    return "\n".join(lines)


def _weight_lines(report: Report, width: int | None, top: int | None, zeros: Sequence[str]) -> list[str]:
    table = _tensors_table(report, top)
    return [
        table.render(width),
        *shown_line(len(table.rows), len(report.tensors)),
        "",
        *_model_lines(report.model, report.largest_not_selected, width, zeros),
    ]


def _unit_lines(report: Report) -> list[str]:
    """Return what was removed where all rules are over whole units, so that no tensor is ranked by its entries."""
    lines = [f"removed: {removed_text(report.groups)}"]
    if report.model is not None:
        model = report.model
        lines.append(f"the model had {model.entries:,} parameters in {bytes_text(model.weight_bytes)}")
    return [*lines, ""]


def packed_lines(report: Report, *, canonical_zero: bool) -> list[str]:
    """Return the lines about a packed result; its size is already printed with the groups, if there are any."""
    size = [] if report.groups else _size_lines(report)
    return [*size, *negative_zeros_lines(report.negative_zeros, canonical_zero=canonical_zero)]


def plan_text(plan: Plan, width: int | None, top: int | None = None, output: str | None = None) -> str:
    """Return a plan as a table, of the `top` largest tensors, with its costs. `output`: the output format."""
    rows = [
        (tensor.name, tensor.dtype, shape_text(tensor.shape), _rules(tensor) or f"- ({tensor.not_selected})")
        for tensor in largest(plan.tensors, top, lambda tensor: tensor.entries)
    ]
    selected = sum(1 for tensor in plan.tensors if tensor.rules)
    foot = (f"{selected} of {counted(len(plan.tensors), 'tensor')} selected", "", "", "")
    table = Table(("tensor", "dtype", "shape", "rules"), rows, foot, optional=("dtype", "shape")).render(width)
    others = [group for group in plan.groups if not group.is_of_whole_units]
    groups = [_table_of_groups(others, width, output), *_below(_hint_lines(others, output)), ""] if others else []
    whole = removal_lines(plan, width) if len(others) < len(plan.groups) else []
    spooled = f" and {bytes_text(plan.spool_bytes)} of disk" if plan.spool_bytes else ""
    result = "" if plan.result_bytes is None else f", the result has {bytes_text(plan.result_bytes)}"
    tensors = [table, *shown_line(len(rows), len(plan.tensors)), "", *_earlier_lines(plan)]
    selected_lines = [*tensors, *_model_lines(plan.model, plan.largest_not_selected, width)]
    lines = [
        *groups,
        *whole,
        *([] if _is_of_whole_units(plan) else selected_lines),
        f"pruning would take at most {bytes_text(plan.peak_bytes)} of memory{spooled}{result}; on {plan.device}",
    ]
    return "\n".join(lines)


def _tensors_table(report: Report, top: int | None) -> Table:
    """Return the selected tensors, and what was pruned as a part of the whole model.

    There is a column for what was pruned before, and one for predicted errors, if there is any.
    """
    has_before = report.pruned_before > 0
    has_errors = any(tensor.predicted_error is not None for tensor in report.tensors)

    def row(name: str, entries: int, before: int, pruned: int, error: float | None = None) -> tuple[str, ...]:
        earlier = (f"{before:,}",) if has_before else ()
        errors = ("" if error is None else f"{error:.4f}",) if has_errors else ()
        return (name, f"{entries:,}", *earlier, f"{pruned:,}", percent(pruned, entries), *errors)

    head = (
        *("tensor", "entries", *(("before",) if has_before else ())),
        *("pruned", "sparsity", *(("predicted error",) if has_errors else ())),
    )
    shown = largest(report.tensors, top, lambda tensor: tensor.entries)
    rows = [
        row(tensor.name, tensor.entries, tensor.pruned_before, tensor.pruned, tensor.predicted_error)
        for tensor in shown
    ]
    foot = row(
        f"{counted(len(report.tensors), 'tensor')} selected", report.entries, report.pruned_before, report.pruned
    )
    model = report.model
    total = None if model is None else row("whole model", model.entries, report.pruned_before, report.pruned)
    return Table(head, rows, foot, total, optional=("before", "pruned", "entries"))


def _earlier_lines(plan: Plan) -> list[str]:
    """Return what earlier rounds pruned, by the file's history."""
    pruned = sum(1 for tensor in plan.tensors if tensor.was_pruned and tensor.rules)
    if not pruned:
        return []
    return [
        f"pruned in an earlier round: {counted(pruned, 'tensor')}; zeros there count as pruned, unless prior is mask"
    ]


def _model_lines(
    model: ModelTotals | None, not_selected: Sequence[TensorPlan], width: int | None, zeros: Sequence[str] = ()
) -> list[str]:
    """Return how much of the model is selected and zero, and the largest tensors that are not selected."""
    if model is None:
        return []
    share = percent(model.selected_entries, model.entries)
    weights = f"{model.selected_entries:,} of {model.entries:,} parameters ({share})"
    tensors = f"{model.selected_tensors:,} of {counted(model.tensors, 'tensor')}"
    lines = [f"selected: {weights}, {tensors}; the model has {bytes_text(model.weight_bytes)}", *zeros]
    return [*lines, *_not_selected_lines(model, not_selected, width), ""]


def _zeros_lines(report: Report, result: ResultFacts) -> list[str]:
    """Return the zeros of the model before and now; removed entries count as zeros, but are not in the result.

    Where it is not known whether or how much was removed, the line says that this is counted too.
    """
    model = report.model
    if model is None or model.zeros_before is None or model.zeros is None:
        return []
    before = f"zeros in the model: {model.zeros_before:,} before ({percent(model.zeros_before, model.entries)})"
    if not report.groups or result.output not in ("removed", None):
        return [f"{before}, {model.zeros:,} now ({percent(model.zeros, model.entries)})"]
    if result.removed is None:
        return [f"{before}, {model.zeros:,} now zero or removed ({percent(model.zeros, model.entries)})"]
    entries, zeros = model.entries - result.removed, model.zeros - result.removed
    return [
        f"parameters: {model.entries:,} before, {entries:,} now ({percent(entries, model.entries)})",
        f"{before}, {zeros:,} of {entries:,} now ({percent(zeros, entries)})",
    ]


def _not_selected_lines(model: ModelTotals, tensors: Sequence[TensorPlan], width: int | None) -> list[str]:
    if not tensors:
        return []
    rows = [
        (tensor.name, f"{tensor.entries:,}", percent(tensor.entries, model.entries), why_not(tensor.not_selected))
        for tensor in tensors[:_SHOWN]
    ]
    head = ("largest not selected", "entries", "of the model", "reason")
    return ["", Table(head, rows, optional=("of the model", "entries")).render(width)]


def _groups_text(report: Report, width: int | None, output: str | None) -> str:
    """Return the channel groups as a table, and the result's size; which channels are kept is in the JSON only."""
    below = [*_hint_lines(report.groups, output), *_size_lines(report)]
    return "\n\n".join([_table_of_groups(report.groups, width, output), *below])


def _hint_lines(groups: Sequence[GroupReport], output: str | None) -> list[str]:
    """Return what removes the units, where the output format leaves all of them in the result."""
    if output in ("removed", None):
        return []
    config = " and config.json" if any(group.config for group in groups) else ""
    return [f"output {output} leaves all shapes{config} as they are; --output removed makes the tensors smaller"]


def _below(lines: Sequence[str]) -> list[str]:
    """Return lines under a table, if there are any."""
    return ["", *lines] if lines else []


def _table_of_groups(groups: Sequence[GroupReport], width: int | None, output: str | None) -> str:
    """Return the channel groups as a table. `kept` is not known in a plan where it depends on the weights.

    Only output "removed" changes config.json.
    """
    if not all(group.kept for group in groups):
        unknown = [(group.name, f"{group.units:,}", f"{len(group.kept):,}" if group.kept else "?") for group in groups]
        return Table(("group", "units", "kept"), unknown).render(width)
    head = {"removed": ("config.json",), None: ("config.json if removed",)}.get(output, ())
    rows = [
        (group.name, f"{group.units:,}", f"{len(group.kept):,}", *([_config(group)] if head else []))
        for group in groups
    ]
    units, kept = sum(group.units for group in groups), sum(len(group.kept) for group in groups)
    foot = (counted(len(groups), "group"), f"{units:,}", f"{kept:,}", *("" for _ in head))
    return Table(("group", "units", "kept", *head), rows, foot).render(width)


def _size_lines(report: Report) -> list[str]:
    return [] if report.result_bytes is None else [f"the result has {bytes_text(report.result_bytes)}"]


def _config(group: GroupReport) -> str:
    return ", ".join(f"{name} {value}" for name, value in group.config.items()) or "-"


def _seconds(report: Report) -> str:
    """Return the stages in the order of a call; stages that a newer server adds come before the total."""
    known = [name for name in _STAGES if name in report.seconds]
    added = sorted(set(report.seconds) - {*_STAGES, "total"})
    stages = [f"{name} {report.seconds[name]:.3f}" for name in (*known, *added)]
    return "seconds  " + " · ".join([*stages, f"total {report.seconds.get('total', 0.0):.3f}"])


def _digests(report: Report) -> list[str]:
    digests = {"input": report.input_sha256, "result": report.result_sha256}
    return [f"sha256   {digest} {file}" for file, digest in digests.items() if digest is not None]


def _is_of_whole_units(plan: Plan) -> bool:
    """Whether all that a plan does is to remove whole units: then single tensors say nothing."""
    whole = {group.rule for group in plan.groups if group.is_of_whole_units}
    return bool(whole) and whole.issuperset(rule for tensor in plan.tensors for rule in tensor.rules)


def _rules(tensor: TensorPlan) -> str:
    return "removed" if tensor.removed else ", ".join(str(position) for position in tensor.rules)
