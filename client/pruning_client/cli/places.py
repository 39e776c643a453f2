"""Where a command reads from and writes to: paths, and URIs of object stores, which are opened in this process.

What opens stores is imported only where an option is a URI.
"""

import os
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from pruning_client.checkpoints.opened import Checkpoint
from pruning_client.checkpoints.readable import DISK, Files
from pruning_client.huggingface.folder import is_folder, weights_of
from pruning_client.huggingface.places import DiskFolder, SourceFolder

if TYPE_CHECKING:
    from pruning_client.stored.result import StoredResult
    from pruning_client.stored.target import StoredObject
    from pruning_service.stores.stores import Stores
    from pruning_service.stores.uris import StoreUri

_MARK: Final = "://"

Location: TypeAlias = "Path | StoreUri"


def location(text: str) -> Location:
    """Return the path or the URI that an option is. Raises: ArgumentTypeError for a URI of no store."""
    if _MARK not in text:
        return Path(text)
    from pruning_client.stored.location import place_of  # noqa: PLC0415

    try:
        return place_of(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def opened_here(place: "Location | None") -> "Location | None":
    """Return a place as this process opens it: `file://` is a path."""
    if place is None or isinstance(place, Path):
        return place
    from pruning_client.stored.location import location_of  # noqa: PLC0415

    return location_of(place)


@dataclass(frozen=True, slots=True)
class Source:
    """A file or a model's folder. `path`: on the disk; of what is in a store, small files are there, and names."""

    path: Path
    folder: SourceFolder

    @property
    def files(self) -> Files:
        """Where the bytes of weights are."""
        return self.folder.files

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return is_folder(self.path)

    @property
    def weights(self) -> Checkpoint:
        """The file to prune; of a folder, its weights. Raises: OSError."""
        return Checkpoint(weights_of(self.path) if self.is_folder else self.path, self.files)


class Places:
    """Opens places for one command. A context manager that closes what it opened; errors inside name URIs."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._stores: Stores | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, traceback)

    def source(self, place: Location) -> Source:
        """Return what is at a place. Raises: OSError. UnavailableError if a package is missing."""
        if isinstance(place, Path):
            return Source(place, DiskFolder(place, DISK))
        from pruning_client.stored.opening import checking_installed  # noqa: PLC0415
        from pruning_client.stored.source import open_stored  # noqa: PLC0415

        with checking_installed():
            model = self._stack.enter_context(open_stored(self.stores, place))
        return Source(model.path, model)

    def on_disk(self, source: Source) -> Path:
        """Return the path of a file all of whose bytes are on the disk, fetched if they are not. Raises: OSError."""
        if isinstance(source.folder, DiskFolder):
            return source.path
        file = source.files.open(source.path)
        with source.path.open("wb") as copy:
            for piece in file.pieces(((0, file.size),)):
                copy.write(piece)
        return source.path

    @contextmanager
    def result(
        self, place: "StoreUri", *, is_folder: bool, may_replace: bool
    ) -> Iterator["StoredResult | StoredObject"]:
        """Return a folder or an object to be made in a store, which is this command's alone while inside.

        Raises: OSError, such as ExistsError if there is something already. UnavailableError if a package is missing.
        """
        from pruning_client.stored import opening  # noqa: PLC0415
        from pruning_client.stored.claim import claimed  # noqa: PLC0415

        with opening.checking_installed():
            parent, name = self.stores.open_object(place)
        with claimed(parent, name):
            if is_folder:
                yield opening.new_folder(self.stores, place)
            else:
                yield opening.new_object(self.stores, place, may_replace=may_replace)

    @property
    def stores(self) -> "Stores":
        """What opens stores, as the environment says."""
        from pruning_client.stored.opening import stores_of  # noqa: PLC0415

        if self._stores is None:
            self._stores = self._stack.enter_context(stores_of(os.environ))
        return self._stores
