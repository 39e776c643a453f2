"""`prune diff`: print what differs between two models; needs no server."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import add_json, add_top, titled
from pruning_client.cli.inspection.diff_text import CHANGE, ORDERS, diff_text
from pruning_client.cli.inspection.sorting import add_sort
from pruning_client.cli.tables import terminal_width
from pruning_client.models.compared_models import compare_models


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "before",
        type=Path,
        metavar="A",
        help="a file, packed or not, an index of shards, or the folder of a model or pipeline",
    )
    parser.add_argument("after", type=Path, metavar="B", help="the same, of the other model")
    add_sort(parser, ORDERS, f"{CHANGE}, ||W - W'|| / ||W||")
    titled(parser, "for scripts").add_argument(
        "--exit-code", action="store_true", help="exit with 1 if a tensor differs, as `diff` does; default: 0"
    )
    add_top(parser)
    add_json(parser)


def run(options: Namespace) -> Answer:
    """Compare two models. Raises: as `compare_models`."""
    diff = compare_models(options.before, options.after)
    value = {"a": str(options.before), "b": str(options.after), **diff.to_dict()}
    text = diff_text(diff, terminal_width(), order=options.sort or CHANGE, top=options.top)
    return Answer(value, text, status=int(options.exit_code and not diff.is_equal))
