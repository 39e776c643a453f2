"""`prune apply`: prune a file with masks; needs no server."""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import RESULT, add_quiet, titled
from pruning_client.cli.result_path import add_overwriting, result_path
from pruning_client.cli.tables import percent
from pruning_client.files.apply_masks import apply_file
from pruning_proto.counted import counted


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", type=Path, metavar="MODEL.safetensors")
    parser.add_argument("masks", type=Path, metavar="MASKS.safetensors")
    titled(parser, RESULT).add_argument(
        "-o", dest="out", type=Path, metavar="OUT.safetensors", required=True, help="may be MODEL"
    )
    add_overwriting(parser)
    add_quiet(parser)


def run(options: Namespace) -> Answer:
    """Write the pruned file. Raises: as `apply_file`."""
    with result_path(options) as out:
        applied = apply_file(options.source, options.masks, out.path)
    text = (
        f"{counted(applied.tensors, 'tensor')} pruned: {applied.pruned:,} of {applied.entries:,} entries, "
        f"{percent(applied.pruned, applied.entries)}; "
        f"{percent(applied.pruned, applied.model_entries)} of the model's {applied.model_entries:,}"
    )
    return replace(out.answer(applied.to_dict(), text), warnings=applied.warnings)
