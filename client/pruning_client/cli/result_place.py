"""Where `prune run` writes its result: a path, see `result_path`, or a place in an object store."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pruning_client.calls.sinks import Target
from pruning_client.cli.arguments import UsageError
from pruning_client.cli.places import Places, Source
from pruning_client.cli.result_path import ResultPath, result_path
from pruning_client.huggingface.places import DiskResult, ResultFolder

if TYPE_CHECKING:
    from pruning_client.stored.result import StoredResult
    from pruning_client.stored.target import StoredObject


@dataclass(frozen=True, slots=True)
class ResultPlace:
    """Where the result is written: `folder` or `file` for functions, `path` for messages."""

    place: "Path | StoredResult | StoredObject"
    path: ResultPath

    @property
    def folder(self) -> ResultFolder:
        """The folder to be made."""
        return DiskResult(self.place) if isinstance(self.place, Path) else cast("StoredResult", self.place)

    @property
    def file(self) -> Target:
        """The file to be written."""
        return self.place if isinstance(self.place, Path) else cast("StoredObject", self.place)


@contextmanager
def result_place(options: Namespace, source: Source, places: Places) -> Iterator[ResultPlace]:
    """Return where to write; when the block ends well, what is there takes its final place.

    Raises: OSError if it exists and may not be replaced. UsageError if this result cannot be written there.
    """
    if isinstance(options.out, Path):
        with result_path(options, source.path) as path:
            yield ResultPlace(path.path, path)
        return
    if options.force and source.is_folder:
        raise UsageError("--force does not replace a folder in an object store; delete it first, or name a new one")
    with places.result(options.out, is_folder=source.is_folder, may_replace=options.force) as place:
        yield ResultPlace(place, ResultPath(source.path, str(options.out)))
