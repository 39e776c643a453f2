"""How results look on a terminal: a report, a plan, a file's sparsity, what a server offers."""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from pruning_client.calls.exchange import Progress, Watcher
from pruning_client.cli.tables import Table, bytes_text
from pruning_client.files.apply_masks import Applied
from pruning_client.files.inspect import TensorZeros
from pruning_client.files.pack import PackedFile
from pruning_client.results.capabilities import Capabilities
from pruning_client.results.plan import Plan
from pruning_client.results.report import GroupReport, Report

_STAGES: Final = ("receive", "prune", "send")


def report_text(report: Report, width: int | None, *, with_seed: bool) -> str:
    """Give a report as a table, with its seconds and device; and its seed, where it matters."""
    rows = [
        (tensor.name, f"{tensor.entries:,}", f"{tensor.pruned:,}", _percent(tensor.pruned, tensor.entries))
        for tensor in report.tensors
    ]
    foot = (
        _tensors(len(rows)),
        f"{report.entries:,}",
        f"{report.pruned:,}",
        _percent(report.pruned, report.entries),
    )
    table = Table(("tensor", "entries", "pruned", "sparsity"), rows, foot)
    seed = f", seed {report.seed}" if with_seed else ""
    groups = [_groups_text(report, width), ""] if report.groups else []
    lines = [*groups, table.render(width), "", _seconds(report), f"on {report.device}{seed}", *_digests(report)]
    return "\n".join(lines)


def _groups_text(report: Report, width: int | None) -> str:
    """Give the groups of tied channels as a table, and what their removal leaves; which are kept is for programs."""
    groups = report.groups
    rows = [(each.name, f"{each.units:,}", f"{len(each.kept):,}", _config(each)) for each in groups]
    units, kept = sum(each.units for each in groups), sum(len(each.kept) for each in groups)
    foot = (f"{len(groups):,} group{'' if len(groups) == 1 else 's'}", f"{units:,}", f"{kept:,}", "")
    table = Table(("group", "units", "kept", "config.json"), rows, foot).render(width)
    return "\n\n".join([table, *_size_lines(report)])


def packed_lines(report: Report, *, canonical_zero: bool) -> list[str]:
    """Give what packing the result came to; its size stands with the groups, where there are any."""
    size = [] if report.groups else _size_lines(report)
    return [*size, *negative_zeros_lines(report.negative_zeros, canonical_zero=canonical_zero)]


def _size_lines(report: Report) -> list[str]:
    return [] if report.result_bytes is None else [f"the result has {bytes_text(report.result_bytes)}"]


def _config(group: GroupReport) -> str:
    return ", ".join(f"{name} {value}" for name, value in group.config.items()) or "-"


def applied_text(applied: Applied) -> str:
    """Give what masks did to a file."""
    part = _percent(applied.pruned, applied.entries)
    return f"{_tensors(applied.tensors)} pruned: {applied.pruned:,} of {applied.entries:,} entries, {part}"


def packed_text(packed: PackedFile, *, canonical_zero: bool) -> str:
    """Give what packing a file came to, or unpacking one."""
    ratio = f"{bytes_text(packed.packed_bytes)} packed, {bytes_text(packed.dense_bytes)} dense: {packed.ratio:.2%}"
    zeros = negative_zeros_lines(packed.negative_zeros or 0, canonical_zero=canonical_zero)
    return "\n".join([f"{packed.packed:,} of {_tensors(packed.tensors)} packed", ratio, *zeros])


def negative_zeros_lines(count: int, *, canonical_zero: bool) -> list[str]:
    """Give what became of -0.0 in a packed file, where there was any."""
    entries = f"{count:,} entr{'y' if count == 1 else 'ies'}"
    if canonical_zero:
        return [f"-0.0 became +0.0 in {entries}"] if count else []
    return [f"-0.0 stays in {entries}; --canonical-zero makes it +0.0, which takes one bit"] if count else []


def plan_text(plan: Plan, width: int | None) -> str:
    """Give a plan as a table, with what it costs."""
    rows = [
        (tensor.name, tensor.dtype, _shape(tensor.shape), _rules(tensor.rules) or f"- ({tensor.not_selected})")
        for tensor in plan.tensors
    ]
    selected = sum(1 for tensor in plan.tensors if tensor.rules)
    foot = (f"{selected} of {_tensors(len(rows))} selected", "", "", "")
    table = Table(("tensor", "dtype", "shape", "rules"), rows, foot).render(width)
    result = "" if plan.result_bytes is None else f", the result has {bytes_text(plan.result_bytes)}"
    return f"{table}\n\nthe server would hold at most {bytes_text(plan.peak_bytes)}{result}; on {plan.device}"


def zeros_text(found: Sequence[TensorZeros], width: int | None) -> str:
    """Give the sparsity of a file by tensor."""
    rows = [(each.name, _dtype(each), _shape(each.shape), f"{each.entries:,}", *_zeros(each)) for each in found]
    counted = [(each.entries, each.zeros) for each in found if each.zeros is not None]
    entries, zeros = sum(entries for entries, _ in counted), sum(zeros for _, zeros in counted)
    foot = (_tensors(len(rows)), "", "", f"{entries:,}", f"{zeros:,}", _percent(zeros, entries))
    return Table(("tensor", "dtype", "shape", "entries", "zeros", "sparsity"), rows, foot).render(width)


def capabilities_text(capabilities: Capabilities, width: int | None) -> str:
    """Give what a server offers."""
    limits = capabilities.limits
    lines = [f"pruning server {capabilities.version} on {', '.join(capabilities.devices)}", ""]
    for method in capabilities.methods:
        lines += [method.name, *_indented(method.description, width)]
        if method.parameters:
            lines += _indented(f"takes {', '.join(method.parameters)}", width)
    for each in capabilities.maps:
        lines += [f"map {each.name}", *_indented(each.description, width)]
        if each.parameters:
            lines += _indented(f"asks for {', '.join(each.parameters)}", width)
    lines += [
        "",
        f"results  {', '.join(capabilities.outputs)}",
        f"dtypes   {', '.join(capabilities.prunable_dtypes)}",
        f"limits   memory {bytes_text(limits.memory_bytes)}, header {bytes_text(limits.header_bytes)}, "
        f"{limits.tensors:,} tensors, {limits.rules} rules; {limits.calls:,} calls at once",
    ]
    return "\n".join(lines)


@contextmanager
def progress_bar() -> Iterator[Watcher]:
    """Show a bar on stderr while the block lasts, and give what to tell about progress."""
    from rich.console import Console  # noqa: PLC0415 - only for those who watch
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (TextColumn("{task.description:>8}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        sending, receiving = bar.add_task("send", total=None), bar.add_task("receive", total=None, visible=False)

        def show(progress: Progress) -> None:
            send = "send" if progress.attempt == 1 else f"send ({progress.attempt})"
            bar.update(sending, description=send, completed=progress.sent_bytes, total=progress.total_bytes)
            if progress.result_bytes is not None:
                bar.update(receiving, completed=progress.received_bytes, total=progress.result_bytes, visible=True)

        yield show


def _seconds(report: Report) -> str:
    """Give the stages in the order of a call; those that a newer server adds stand before the total."""
    known = [name for name in _STAGES if name in report.seconds]
    added = sorted(set(report.seconds) - {*_STAGES, "total"})
    stages = [f"{name} {report.seconds[name]:.3f}" for name in (*known, *added)]
    return "seconds  " + " · ".join([*stages, f"total {report.seconds.get('total', 0.0):.3f}"])


def _digests(report: Report) -> list[str]:
    told = {"input": report.input_sha256, "result": report.result_sha256}
    return [f"sha256   {digest} {which}" for which, digest in told.items() if digest is not None]


def _zeros(each: TensorZeros) -> tuple[str, str]:
    if each.zeros is None:
        return "-", "-"
    return f"{each.zeros:,}", _percent(each.zeros, each.entries)


def _tensors(count: int) -> str:
    return f"{count:,} tensor{'' if count == 1 else 's'}"


def _dtype(tensor: TensorZeros) -> str:
    return f"{tensor.dtype}, packed" if tensor.packed else tensor.dtype


def _percent(part: int, total: int) -> str:
    return f"{part / total if total else 0.0:.2%}"


def _shape(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape) or "scalar"


def _rules(rules: Sequence[int]) -> str:
    return ", ".join(str(position) for position in rules)


def _indented(text: str, width: int | None) -> list[str]:
    return textwrap.wrap(text, width or 10_000, initial_indent="    ", subsequent_indent="    ")
