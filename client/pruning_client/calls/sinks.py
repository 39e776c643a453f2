"""Where the bytes of a result go: into a file or several, into memory, or nowhere."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from os import PathLike
from typing import Protocol, TypeAlias

from pruning_client.calls.exchange import Exchange, Progress, Watcher
from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.checkpoints.free_space import check_free_space
from pruning_client.checkpoints.memory import allocate
from pruning_client.checkpoints.split import SplitFiles
from pruning_client.errors import ProtocolError
from pruning_proto.framing import Data
from pruning_proto.safetensors.header import Layout


class Sink(Protocol):
    """Takes the bytes of a result, in order."""

    def write(self, data: Data) -> object:
        """Append bytes."""


class Elsewhere(Protocol):
    """A file that is not on the disk, to be written whole or not at all."""

    def replacing(self, result_bytes: Callable[[], int | None]) -> AbstractContextManager[Sink]:
        """Return its sink; the file is there if the block ends well. `result_bytes`: its size, once that is known."""


Target: TypeAlias = str | PathLike[str] | SplitFiles | Elsewhere
"""Where a result is written: a path, several files, or a file elsewhere."""


def open_files(target: Target, exchange: Exchange) -> AbstractContextManager[Sink]:
    """Return the sink of a result's file, which is written whole or not at all, or of several files."""
    match target:
        case SplitFiles():
            return _open_split(target, exchange)
        case str() | PathLike():
            return replacing(target)
    return target.replacing(lambda: exchange.progress.result_bytes)


@contextmanager
def _open_split(files: SplitFiles, exchange: Exchange) -> Iterator[Sink]:
    try:
        yield _SplitSink(exchange, files)
    finally:
        files.finish()


class _BufferSink(ABC):
    """Takes a result whose header, which `exchange` keeps, is received first and has all sizes."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._received = 0
        self._is_begun = False

    def write(self, data: Data) -> None:
        """Append bytes."""
        begin = self._received
        self._received += len(data)
        layout = self._exchange.result_layout
        if layout is None:  # all of it belongs to the header
            return
        if not self._is_begun:
            self._begin(layout)
            self._is_begun = True
        self._append(memoryview(data)[max(layout.header_bytes - begin, 0) :])

    @abstractmethod
    def _begin(self, layout: Layout) -> None: ...

    @abstractmethod
    def _append(self, body: memoryview) -> None: ...


class _SplitSink(_BufferSink):
    """Writes a result into several files."""

    def __init__(self, exchange: Exchange, files: SplitFiles) -> None:
        super().__init__(exchange)
        self._files = files

    def _begin(self, layout: Layout) -> None:
        self._files.begin(layout, self._exchange.original_names)

    def _append(self, body: memoryview) -> None:
        self._files.write(body)


class MemorySink(_BufferSink):
    """Keeps a result in one block of memory. `buffer` holds its tensors' bytes, from the beginning of a page.

    Nothing grows and nothing is moved.
    """

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.buffer = memoryview(b"")
        self._filled = 0

    def _begin(self, layout: Layout) -> None:
        self.buffer = allocate(layout.buffer_bytes)

    def _append(self, body: memoryview) -> None:
        begin = self._filled
        self._filled += len(body)
        self.buffer[begin : self._filled] = body


class NoResultSink:
    """Refuses the bytes of a result that was not asked for; `Exchange` refuses them before they come here."""

    def write(self, data: Data) -> None:
        """Refuse them. Raises: ProtocolError."""
        raise ProtocolError(f"the server sent {len(data)} bytes of a result that was not asked for")


def checking_free_space(target: Target, watcher: Watcher | None) -> Watcher | None:
    """Return a watcher that ends a call whose result does not fit on the target's disk.

    It is called when the plan has come, and a large model is sent after that.
    Raises (the watcher): OSError.
    """
    path = target.folder if isinstance(target, SplitFiles) and target.is_on_disk else target
    if not isinstance(path, str | PathLike):
        return watcher
    checked_attempt = 0

    def check(progress: Progress) -> None:
        nonlocal checked_attempt
        if progress.result_bytes is not None and progress.attempt > checked_attempt:
            checked_attempt = progress.attempt
            check_free_space(path, progress.result_bytes)
        if watcher is not None:
            watcher(progress)

    return check
