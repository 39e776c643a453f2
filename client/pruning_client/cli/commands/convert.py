"""`prune convert`: write the tensors of a file of torch.save as a safetensors file; needs torch, and no server."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import RESULT, add_quiet, titled
from pruning_client.cli.result_path import result_path
from pruning_client.cli.tables import printable
from pruning_client.files.convert import Converted, convert_file

_SHOWN = 5
"""Names in one line."""


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", type=Path, metavar="IN.bin|.pt|.pth")
    titled(parser, RESULT).add_argument(
        "-o", dest="out", type=Path, metavar="OUT.safetensors", required=True, help="a new file"
    )
    titled(parser, RESULT).add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.set_defaults(no_clobber=False)  # without --force, a file that exists is refused anyway
    add_quiet(parser)


def run(options: Namespace) -> Answer:
    """Write the safetensors file. Raises: as `convert_file`."""
    with result_path(options) as out:
        converted = convert_file(options.source, out.path, force=options.force)
    return out.answer(converted.to_dict(), "\n".join(map(printable, _lines(converted))))


def _lines(converted: Converted) -> list[str]:
    under = f", found under {'.'.join(converted.found_under)}" if converted.found_under else ""
    lines = [f"{converted.tensors:,} tensors converted{under}"]
    if converted.shared:
        names = [f"{name} (the same as {kept})" for name, kept in converted.shared.items()]
        lines.append(f"shared tensors are written once; not in the file: {_shown(names)}")
    if converted.left_out:
        lines.append(f"left out, because they are not tensors: {_shown(converted.left_out)}")
    return lines


def _shown(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
