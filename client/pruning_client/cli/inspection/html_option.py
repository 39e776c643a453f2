"""The option --html: a page about a run, which is written beside its result."""

import argparse
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pruning_client.checkpoints.atomic_file import Replacement, replacing
from pruning_client.cli.arguments import UsageError
from pruning_client.results.report import Report


def add_html(group: argparse._ActionsContainer) -> None:
    """Add --html."""
    group.add_argument(
        "--html",
        type=Path,
        metavar="REPORT.html",
        help="write a page about the run, for a browser: one file, which needs no network; it reads the input and the "
        "result once more",
    )


def check_apart(option: str, path: Path | None, others: Mapping[str, Path | None]) -> None:
    """Refuse a page whose path is that of another file. Raises: UsageError."""
    for name, other in others.items():
        if path is not None and other is not None and path.resolve() == other.resolve():
            raise UsageError(f"{option} and {name} name the same file; give the page another name")


def check_paths(options: Namespace) -> None:
    """Refuse a page of a run on URIs, which it would have to read once more. Raises: UsageError."""
    uris = [place for place in (options.source, options.out) if place is not None and not isinstance(place, Path)]
    if options.html is not None and uris:
        raise UsageError(f"--html is for paths; it would read {uris[0]} once more: leave it out, or give a path")


class PageWriter:
    """Writes the page of a run, if one was asked for."""

    def __init__(self, file: Replacement | None, options: Namespace) -> None:
        self._file = file
        self._options = options

    def write(self, report: Report, recipe: Mapping[str, Any], result: Path | None) -> None:
        """Write the page of a report; `result` is where the result is, None if nothing was written.

        Raises: OSError. CheckpointError.
        """
        if self._file is None:
            return
        source: Path = self._options.source
        page = report.to_html(before=source, after=result, recipe=recipe, title=f"Pruning report: {source.name}")
        self._file.write(page.encode())


@contextmanager
def page_writer(options: Namespace) -> Iterator[PageWriter]:
    """Open the page of --html; it takes its place when the block ends well. Raises: OSError, UsageError."""
    if options.html is None:
        yield PageWriter(None, options)
        return
    if options.plan:
        raise UsageError("--plan prunes nothing; for --html leave it out, or give --dry-run")
    check_apart("--html", options.html, {"-o": options.out, "IN": options.source, "--report": options.report})
    with replacing(options.html) as file:  # refused before the work if it cannot be written
        yield PageWriter(file, options)
