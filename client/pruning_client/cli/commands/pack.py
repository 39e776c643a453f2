"""`prune pack`: write a file packed; needs no server."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Literal

from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import RESULT, add_canonical_zero, add_quiet, add_zstd, titled
from pruning_client.cli.packed_text import packed_text
from pruning_client.cli.result_path import add_overwriting, result_path
from pruning_client.files.pack import pack_file


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", type=Path, metavar="IN.safetensors")
    titled(parser, RESULT).add_argument(
        "-o", dest="out", type=Path, metavar="OUT.safetensors", required=True, help="may be IN"
    )
    add_zstd(parser)
    add_canonical_zero(parser)
    add_overwriting(parser)
    add_quiet(parser)


def run(options: Namespace) -> Answer:
    """Write the packed file. Raises: as `pack_file`."""
    with result_path(options) as out:
        compression: Literal["zstd"] | None = "zstd" if options.zstd else None
        packed = pack_file(options.source, out.path, canonical_zero=options.canonical_zero, compression=compression)
    text = packed_text(packed, canonical_zero=options.canonical_zero)
    return out.answer(packed.to_dict(), text)
