"""`prune report`: write a page about a model, one before and after, or a run, for a browser; needs no server."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, Final

from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import RESULT, UsageError, add_quiet, titled
from pruning_client.cli.inspection.html_option import check_apart
from pruning_client.cli.tables import bytes_text
from pruning_client.pages.from_files import files_page
from pruning_client.pages.page import page_html

_JSON: Final = ".json"
_INDEX: Final = ".safetensors.index.json"


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "before",
        type=Path,
        metavar="A",
        help="a file, packed or not, an index of shards, or the folder of a model or pipeline; or the .json of a run "
        "(prune run --report) or of a job (prune jobs show --json)",
    )
    parser.add_argument(
        "after", type=Path, metavar="B", nargs="?", help="the same model after pruning; or the result of the run"
    )
    titled(parser, RESULT).add_argument(
        "-o", dest="out", type=Path, metavar="REPORT.html", required=True, help="the page"
    )
    add_quiet(parser)


def run(options: Namespace) -> Answer:
    """Write the page. Raises: OSError, CheckpointError, UsageError."""
    check_apart("-o", options.out, {"A": options.before, "B": options.after})
    with replacing(options.out) as out:  # refused before the work if it cannot be written
        page = _page(options.before, options.after).encode()
        out.write(page)
    value = {"out": str(options.out), "bytes": len(page)}
    return Answer(value, f"wrote {options.out}, {bytes_text(len(page))}; open it in a browser")


def _page(before: Path, after: Path | None) -> str:
    if before.suffix == _JSON and not before.name.endswith(_INDEX):
        return _page_of_run(before, after)
    return page_html(files_page(before, after))


def _page_of_run(path: Path, after: Path | None) -> str:
    """Return the page of a run whose JSON was kept. Raises: UsageError if it is other JSON."""
    from pruning_client.results.report_json import report_of_json  # noqa: PLC0415 - with protobuf

    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"{path}: is not JSON ({error})") from error
    try:
        report = report_of_json(value)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    return report.to_html(after=after, recipe=_recipe(value), title=f"Pruning report: {_source(value, path)}")


def _recipe(value: dict[str, Any]) -> dict[str, Any] | None:
    recipe = value.get("recipe")
    return recipe if isinstance(recipe, dict) else None


def _source(value: dict[str, Any], path: Path) -> str:
    """Return what the run pruned, for the title; else the name of the JSON."""
    source = value.get("source")
    return source.rstrip("/").rpartition("/")[2] if isinstance(source, str) and source else path.name
