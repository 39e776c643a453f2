"""Reports and plans as text for people."""

from typing import Final

from pruning_client.cli.packed_text import negative_zeros_lines
from pruning_client.cli.tables import Table, bytes_text, counted, percent, shape_text
from pruning_client.results.plan import Plan
from pruning_client.results.report import GroupReport, Report

_STAGES: Final = ("receive", "prune", "send")


def report_text(report: Report, width: int | None, *, with_seed: bool) -> str:
    """Return a report as a table, with its seconds and device; and its seed, if a rule is random."""
    rows = [
        (tensor.name, f"{tensor.entries:,}", f"{tensor.pruned:,}", percent(tensor.pruned, tensor.entries))
        for tensor in report.tensors
    ]
    foot = (
        counted(len(rows), "tensor"),
        f"{report.entries:,}",
        f"{report.pruned:,}",
        percent(report.pruned, report.entries),
    )
    table = Table(("tensor", "entries", "pruned", "sparsity"), rows, foot)
    seed = f", seed {report.seed}" if with_seed else ""
    groups = [_groups_text(report, width), ""] if report.groups else []
    lines = [*groups, table.render(width), "", _seconds(report), f"on {report.device}{seed}", *_digests(report)]
    return "\n".join(lines)


def packed_lines(report: Report, *, canonical_zero: bool) -> list[str]:
    """Return the lines about a packed result; its size is already printed with the groups, if there are any."""
    size = [] if report.groups else _size_lines(report)
    return [*size, *negative_zeros_lines(report.negative_zeros, canonical_zero=canonical_zero)]


def plan_text(plan: Plan, width: int | None) -> str:
    """Return a plan as a table, with its costs."""
    rows = [
        (tensor.name, tensor.dtype, shape_text(tensor.shape), _rules(tensor.rules) or f"- ({tensor.not_selected})")
        for tensor in plan.tensors
    ]
    selected = sum(1 for tensor in plan.tensors if tensor.rules)
    foot = (f"{selected} of {counted(len(rows), 'tensor')} selected", "", "", "")
    table = Table(("tensor", "dtype", "shape", "rules"), rows, foot).render(width)
    result = "" if plan.result_bytes is None else f", the result has {bytes_text(plan.result_bytes)}"
    return f"{table}\n\npruning would take at most {bytes_text(plan.peak_bytes)} of memory{result}; on {plan.device}"


def _groups_text(report: Report, width: int | None) -> str:
    """Return the channel groups as a table, and the result's size; which channels are kept is in the JSON only."""
    groups = report.groups
    rows = [(group.name, f"{group.units:,}", f"{len(group.kept):,}", _config(group)) for group in groups]
    units, kept = sum(group.units for group in groups), sum(len(group.kept) for group in groups)
    foot = (counted(len(groups), "group"), f"{units:,}", f"{kept:,}", "")
    table = Table(("group", "units", "kept", "config.json"), rows, foot).render(width)
    return "\n\n".join([table, *_size_lines(report)])


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


def _rules(rules: tuple[int, ...]) -> str:
    return ", ".join(str(position) for position in rules)
