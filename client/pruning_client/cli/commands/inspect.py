"""`prune inspect`: print the sparsity of a model, tensor by tensor, and what was done to it; needs no server."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import add_json, add_top
from pruning_client.cli.history_text import history_lines
from pruning_client.cli.tables import (
    Table,
    bytes_text,
    counted,
    largest,
    percent,
    shape_text,
    shown_line,
    terminal_width,
)
from pruning_client.files.inspect import TensorZeros
from pruning_client.files.inspected_model import InspectedModel, inspect_model


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE.safetensors",
        help="or an index of shards (.safetensors.index.json), or the folder of a model or of a diffusers pipeline",
    )
    add_top(parser)
    add_json(parser)


def run(options: Namespace) -> Answer:
    """Count the zeros of a model. Raises: as `inspect_model`."""
    model = inspect_model(options.file)
    value = {"file": str(options.file), **model.to_dict()}
    return Answer(value, _text(model, terminal_width(), options.top))


def _text(model: InspectedModel, width: int | None, top: int | None) -> str:
    totals = model.totals
    rows = [
        (tensor.name, _dtype(tensor), shape_text(tensor.shape), f"{tensor.entries:,}", *_zeros(tensor))
        for tensor in largest(model.tensors, top, lambda tensor: tensor.entries)
    ]
    sums = (f"{totals.entries:,}", f"{totals.zeros:,}", percent(totals.zeros, totals.entries))
    foot = (counted(totals.tensors, "tensor"), "", "", *sums)
    table = Table(("tensor", "dtype", "shape", "entries", "zeros", "sparsity"), rows, foot).render(width)
    lines = [table, *shown_line(len(rows), totals.tensors)]
    if model.history or len(model.files) > 1:
        lines += [
            "",
            f"{bytes_text(totals.bytes)} in {counted(len(model.files), 'file')}",
            *history_lines(model.history),
        ]
    return "\n".join(lines)


def _dtype(tensor: TensorZeros) -> str:
    return f"{tensor.dtype}, packed" if tensor.packed else tensor.dtype


def _zeros(tensor: TensorZeros) -> tuple[str, str]:
    if tensor.zeros is None:
        return "-", "-"
    return f"{tensor.zeros:,}", percent(tensor.zeros, tensor.entries)
