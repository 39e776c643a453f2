"""Two models compared, as text for people."""

from collections.abc import Sequence
from typing import Final

from pruning_client.cli.inspection.sorting import Orders, first
from pruning_client.cli.tables import Table, bytes_text, change_text, percent, shape_text
from pruning_client.models.compared_models import ModelDiff, Status, TensorDiff, TensorSide
from pruning_proto.counted import counted

CHANGE: Final = "change"

ORDERS: Final[Orders] = {
    CHANGE: lambda tensor: (-(tensor.relative_change or 0.0), -(tensor.changed or 0)),
    "name": lambda tensor: tensor.name,
    "size": lambda tensor: -_entries(tensor),
    "zeros": lambda tensor: -((tensor.after or tensor.before).zeros or 0),
    "largest": lambda tensor: -(tensor.largest_change or 0.0),
}

_OTHERS: Final[dict[Status, str]] = {
    "shape": "other shape",
    "only_before": "only in A",
    "only_after": "only in B",
}


def diff_text(diff: ModelDiff, width: int | None, *, order: str, top: int | None) -> str:
    """Return what differs: tables of the tensors that do, the first `top` of each, and the totals of both models."""
    lines: list[str] = []
    for table in (_changed_table(diff, order, top), *_other_tables(diff, order, top)):
        if table is not None:
            lines += [table.render(width), ""]
    if not diff.has_changes_measured:
        lines += ["how far entries moved is not known without numpy: pip install 'pruning-service[numpy]'", ""]
    return "\n".join([*lines, *_totals(diff, width)])


def _changed_table(diff: ModelDiff, order: str, top: int | None) -> Table | None:
    found = [tensor for tensor in diff.tensors if tensor.status in ("changed", "dtype")]
    if not found:
        return None
    shown = first(found, ORDERS, order, top)
    head = ("changed", "dtype", "shape", "entries", "zeros A", "zeros B", "differ", "largest", "relative")
    rows = [_changed_row(tensor) for tensor in shown]
    foot = (_count_text(len(shown), len(found)), *("",) * (len(head) - 1))
    return Table(head, rows, foot, optional=("shape", "dtype", "entries", "zeros A", "largest", "zeros B"))


def _changed_row(tensor: TensorDiff) -> tuple[str, ...]:
    before, after = tensor.before, tensor.after
    assert before is not None  # noqa: S101 - the status says so
    assert after is not None  # noqa: S101
    dtype = before.dtype if before.dtype == after.dtype else f"{before.dtype} > {after.dtype}"
    return (
        *(tensor.name, dtype, shape_text(before.shape), f"{before.entries:,}", _zeros(before), _zeros(after)),
        "-" if tensor.changed is None else percent(tensor.changed, before.entries),
        change_text(tensor.largest_change),
        change_text(tensor.relative_change),
    )


def _other_tables(diff: ModelDiff, order: str, top: int | None) -> list[Table | None]:
    return [_other_table(diff, status, title, order, top) for status, title in _OTHERS.items()]


def _other_table(diff: ModelDiff, status: Status, title: str, order: str, top: int | None) -> Table | None:
    found = [tensor for tensor in diff.tensors if tensor.status == status]
    if not found:
        return None
    shown = first(found, ORDERS, order, top)
    rows = [(tensor.name, *_sides(tensor)) for tensor in shown]
    foot = (_count_text(len(shown), len(found)), "", "", "")
    return Table((title, "dtype", "shape", "zeros"), rows, foot, optional=("dtype", "zeros"))


def _sides(tensor: TensorDiff) -> tuple[str, str, str]:
    sides = [side for side in (tensor.before, tensor.after) if side is not None]
    columns: Sequence[Sequence[str]] = (
        [side.dtype for side in sides],
        [shape_text(side.shape) for side in sides],
        [_zeros(side) for side in sides],
    )
    dtype, shape, zeros = (" > ".join(dict.fromkeys(texts)) for texts in columns)
    return dtype, shape, zeros


def _totals(diff: ModelDiff, width: int | None) -> list[str]:
    sides = {"A": diff.before, "B": diff.after}
    rows = [
        (
            *(name, f"{side.tensors:,}", f"{side.entries:,}", bytes_text(side.bytes)),
            *(f"{side.zeros:,}", percent(side.zeros, side.entries)),
        )
        for name, side in sides.items()
    ]
    head = ("totals", "tensors", "entries", "size", "zeros", "sparsity")
    lines = [Table(head, rows, optional=("zeros", "tensors")).render(width), ""]
    if diff.metadata:
        lines.append(f"metadata that differs: {', '.join(diff.metadata)}")
    if diff.is_equal:
        return [*lines, f"all {counted(len(diff.tensors), 'tensor')} are equal, bit for bit"]
    return [*lines, f"{diff.count('equal'):,} of {counted(len(diff.tensors), 'tensor')} equal, bit for bit"]


def _count_text(shown: int, found: int) -> str:
    return counted(found, "tensor") if shown == found else f"{shown:,} of {counted(found, 'tensor')}"


def _zeros(side: TensorSide) -> str:
    return "-" if side.zeros is None else percent(side.zeros, side.entries)


def _entries(tensor: TensorDiff) -> int:
    side = tensor.after or tensor.before
    return 0 if side is None else side.entries
