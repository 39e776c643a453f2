"""A large object written in parts, several of which are under way; it is visible once it is complete."""

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import obstore

from pruning_proto.limits import MIB
from pruning_service.stores.remote_errors import translated
from pruning_service.stores.store import Data
from pruning_service.stores.uris import StoreUri

_PARTS: Final = 9_000
"""S3 takes 10,000 parts of one object."""

_PART_BYTES: Final = 8 * MIB
_UNKNOWN_PART_BYTES: Final = 16 * MIB
_CONCURRENCY: Final = 4


class RemoteWriter:
    """A `Writer`, as a context manager: what is not complete when the block ends is aborted."""

    def __init__(
        self, bucket: obstore.store.ObjectStore, uri: StoreUri, size: int | None, count: Callable[[int], object]
    ) -> None:
        part_bytes = _UNKNOWN_PART_BYTES if size is None else max(_PART_BYTES, -(-size // _PARTS))
        self._uri = uri
        self._count = count
        self._is_complete = False
        with translated(uri):
            self._file = obstore.open_writer(bucket, uri.path, buffer_size=part_bytes, max_concurrency=_CONCURRENCY)

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_complete:
            return
        aborted = _NotCompleteError()
        try:
            self._file.__exit__(type(aborted), aborted, None)  # the library aborts when it sees an error
        except Exception:
            if error is None:
                raise

    def write(self, data: Data) -> None:
        """Append bytes."""
        with translated(self._uri):
            self._file.write(data)
        self._count(len(data))

    def complete(self) -> None:
        """Make the object visible."""
        with translated(self._uri):
            self._file.close()
        self._is_complete = True


class _NotCompleteError(Exception):
    """Tells the library that its object is not to be completed."""
