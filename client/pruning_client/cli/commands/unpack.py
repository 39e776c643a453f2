"""`prune unpack`: write the file that a packed one was made from; needs no server."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import RESULT, add_quiet, titled
from pruning_client.cli.packed_text import packed_text
from pruning_client.cli.result_path import add_overwriting, result_path
from pruning_client.files.pack import unpack_file


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", type=Path, metavar="PACKED.safetensors")
    titled(parser, RESULT).add_argument(
        "-o", dest="out", type=Path, metavar="OUT.safetensors", required=True, help="may be PACKED"
    )
    add_overwriting(parser)
    add_quiet(parser)


def run(options: Namespace) -> Answer:
    """Write the dense file. Raises: as `unpack_file`."""
    with result_path(options) as out:
        packed = unpack_file(options.source, out.path)
    text = packed_text(packed, canonical_zero=False)
    return out.answer(packed.to_dict(), text)
