"""`prune inspect`: print the sparsity of a model, tensor by tensor, and what was done to it; needs no server."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import PRINTED, add_json, add_top, titled
from pruning_client.cli.inspection.histogram_text import Bars
from pruning_client.cli.inspection.sorting import FILE, Orders, add_sort, first
from pruning_client.cli.tables import (
    Table,
    bytes_text,
    largest,
    percent,
    shape_text,
    shown_line,
    terminal_width,
)
from pruning_client.models.history_text import history_lines
from pruning_client.models.inspect import TensorZeros
from pruning_client.models.inspected_model import InspectedModel, inspect_model
from pruning_proto.counted import counted

if TYPE_CHECKING:
    from pruning_client.models.magnitudes_value import Magnitudes

_ORDERS: Final[Orders] = {
    "name": lambda tensor: tensor.name,
    "size": lambda tensor: -tensor.entries,
    "zeros": lambda tensor: -(tensor.zeros or 0),
    "sparsity": lambda tensor: -(tensor.sparsity or 0.0),
}


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE.safetensors",
        help="or an index of shards (.safetensors.index.json), or the folder of a model or of a diffusers pipeline",
    )
    add_sort(parser, _ORDERS, FILE)
    titled(parser, PRINTED).add_argument(
        "--histogram", action="store_true", help="show how the |w| of each tensor are distributed; needs numpy"
    )
    add_top(parser)
    add_json(parser)


def run(options: Namespace) -> Answer:
    """Count the zeros of a model. Raises: as `inspect_model`; ImportError for --histogram without numpy."""
    model = inspect_model(options.file)
    value = {"file": str(options.file), **model.to_dict()}
    if not options.histogram:
        return Answer(value, _text(model, options))
    found = _distributions(options.file)
    tensors = [fields | {"histogram": _json(found.get(fields["name"]))} for fields in value["tensors"]]
    return Answer(value | {"tensors": tensors}, _text(model, options, found))


def _distributions(path: Path) -> Mapping[str, "Magnitudes"]:
    try:
        from pruning_client.models.distributions import distributions  # noqa: PLC0415 - numpy, if it is needed
    except ImportError as error:
        raise ImportError(f"--histogram needs numpy: pip install 'pruning-service[numpy]' ({error})") from error
    return distributions(path)


def _json(distribution: "Magnitudes | None") -> dict[str, Any] | None:
    """Return the counts of |w| by the power of two that they begin at."""
    if distribution is None:
        return None
    octaves = {str(power): count for power, count in sorted(distribution.octaves.items())}
    return {"log2": octaves, "zeros": distribution.zeros, "non_finite": distribution.non_finite}


def _text(model: InspectedModel, options: Namespace, distributions: Mapping[str, "Magnitudes"] | None = None) -> str:
    totals, width = model.totals, terminal_width()
    shown = _shown(model, options)
    found = [None if distributions is None else distributions.get(tensor.name) for tensor in shown]
    bars = Bars(found)
    has_bars = distributions is not None
    rows = [
        (
            *(tensor.name, _dtype(tensor), shape_text(tensor.shape), f"{tensor.entries:,}", *_zeros(tensor)),
            *([bars.of(each)] if has_bars else []),
        )
        for tensor, each in zip(shown, found, strict=True)
    ]
    sums = (f"{totals.entries:,}", f"{totals.zeros:,}", percent(totals.zeros, totals.entries))
    more = ("",) * has_bars
    foot = (counted(totals.tensors, "tensor"), "", "", *sums, *more)
    head = ("tensor", "dtype", "shape", "entries", "zeros", "sparsity", *(("|w|",) * has_bars))
    lines = [Table(head, rows, foot, optional=("shape", "dtype", "zeros", "entries")).render(width)]
    lines += [bars.note] if has_bars else []
    lines += _shown_line(len(rows), totals.tensors, options.sort)
    if model.history or len(model.files) > 1:
        lines += [
            "",
            f"{bytes_text(totals.bytes)} in {counted(len(model.files), 'file')}",
            *history_lines(model.history),
        ]
    return "\n".join(lines)


def _shown(model: InspectedModel, options: Namespace) -> list[TensorZeros]:
    if options.sort is None:
        return largest(model.tensors, options.top, lambda tensor: tensor.entries)
    return first(model.tensors, _ORDERS, options.sort, options.top)


def _shown_line(shown: int, total: int, order: str | None) -> list[str]:
    if order is None:
        return shown_line(shown, total)
    return [f"the first {shown:,} of {total:,} tensors by {order}; without --top all are shown"] * (shown < total)


def _dtype(tensor: TensorZeros) -> str:
    return f"{tensor.dtype}, packed" if tensor.packed else tensor.dtype


def _zeros(tensor: TensorZeros) -> tuple[str, str]:
    if tensor.zeros is None:
        return "-", "-"
    return f"{tensor.zeros:,}", percent(tensor.zeros, tensor.entries)
