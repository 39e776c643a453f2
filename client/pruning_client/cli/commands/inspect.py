"""`prune inspect`: print the sparsity of a file, tensor by tensor; needs no server."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import add_json
from pruning_client.cli.tables import Table, counted, percent, shape_text, terminal_width
from pruning_client.files.inspect import TensorZeros, inspect_file


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, metavar="FILE.safetensors")
    add_json(parser)


def run(options: Namespace) -> Answer:
    """Count the zeros of a file. Raises: as `inspect_file`."""
    tensors = list(inspect_file(options.file))
    value = {"file": str(options.file), "tensors": [tensor.to_dict() for tensor in tensors]}
    return Answer(value, _text(tensors, terminal_width()))


def _text(tensors: Sequence[TensorZeros], width: int | None) -> str:
    rows = [
        (tensor.name, _dtype(tensor), shape_text(tensor.shape), f"{tensor.entries:,}", *_zeros(tensor))
        for tensor in tensors
    ]
    entries = sum(tensor.entries for tensor in tensors if tensor.zeros is not None)
    zeros = sum(tensor.zeros for tensor in tensors if tensor.zeros is not None)
    foot = (counted(len(rows), "tensor"), "", "", f"{entries:,}", f"{zeros:,}", percent(zeros, entries))
    return Table(("tensor", "dtype", "shape", "entries", "zeros", "sparsity"), rows, foot).render(width)


def _dtype(tensor: TensorZeros) -> str:
    return f"{tensor.dtype}, packed" if tensor.packed else tensor.dtype


def _zeros(tensor: TensorZeros) -> tuple[str, str]:
    if tensor.zeros is None:
        return "-", "-"
    return f"{tensor.zeros:,}", percent(tensor.zeros, tensor.entries)
