"""`prune report`: write a page about a model, or about one before and after, for a browser; needs no server."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import add_quiet
from pruning_client.cli.inspection.html_option import check_apart
from pruning_client.cli.tables import bytes_text
from pruning_client.pages.from_files import files_page
from pruning_client.pages.page import page_html


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "before",
        type=Path,
        metavar="A",
        help="a file, packed or not, an index of shards, or the folder of a model or pipeline",
    )
    parser.add_argument("after", type=Path, metavar="B", nargs="?", help="the same model after pruning")
    parser.add_argument("-o", dest="out", type=Path, metavar="REPORT.html", required=True, help="the page")
    add_quiet(parser)


def run(options: Namespace) -> Answer:
    """Write the page. Raises: OSError, CheckpointError, UsageError."""
    check_apart("-o", options.out, {"A": options.before, "B": options.after})
    with replacing(options.out) as out:  # refused before the work if it cannot be written
        page = page_html(files_page(options.before, options.after)).encode()
        out.write(page)
    value = {"out": str(options.out), "bytes": len(page)}
    return Answer(value, f"wrote {options.out}, {bytes_text(len(page))}; open it in a browser")
