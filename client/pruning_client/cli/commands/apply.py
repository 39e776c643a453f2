"""`prune apply`: prune a file with masks; needs no server."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import add_json
from pruning_client.cli.tables import counted, percent
from pruning_client.files.apply_masks import apply_file


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", type=Path, metavar="MODEL.safetensors")
    parser.add_argument("masks", type=Path, metavar="MASKS.safetensors")
    parser.add_argument("-o", dest="out", type=Path, metavar="OUT.safetensors", required=True, help="may be MODEL")
    add_json(parser)


def run(options: Namespace) -> Answer:
    """Write the pruned file. Raises: as `apply_file`."""
    applied = apply_file(options.model, options.masks, options.out)
    text = (
        f"{counted(applied.tensors, 'tensor')} pruned: {applied.pruned:,} of {applied.entries:,} entries, "
        f"{percent(applied.pruned, applied.entries)}\nwrote {options.out}"
    )
    return Answer(applied.to_dict() | {"out": str(options.out)}, text)
