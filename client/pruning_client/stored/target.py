"""A result written to a store: one object, or several that are written one after the other."""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, Final

from pruning_proto.framing import Data
from pruning_proto.limits import MIB
from pruning_service.stores.store import Store, Writer

_BLOCK_BYTES: Final = 4 * MIB

Check = Callable[[], object]
"""Called before anything gets visible; raises if this process may not go on."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A result that is one object; an `Elsewhere` of `calls.sinks`."""

    store: Store
    key: str
    check: Check

    @contextmanager
    def replacing(self, result_bytes: Callable[[], int | None]) -> Iterator["_ObjectSink"]:
        """Return the sink of the object, which is visible if the block ends well."""
        with ExitStack() as stack:
            sink = _ObjectSink(self, result_bytes, stack)
            yield sink
            self.check()
            sink.writer().complete()


class _ObjectSink:
    def __init__(self, target: StoredObject, result_bytes: Callable[[], int | None], stack: ExitStack) -> None:
        self._target = target
        self._result_bytes = result_bytes
        self._stack = stack
        self._writer: Writer | None = None

    def write(self, data: Data) -> None:
        """Append bytes."""
        self.writer().write(data)

    def writer(self) -> Writer:
        """Return the object's writer, opened when the first bytes come: then its size is known."""
        if self._writer is None:
            self._writer = self._stack.enter_context(self._target.store.writer(self._target.key, self._result_bytes()))
        return self._writer


class StoredShards:
    """The `ShardFiles` of a result in a store: each is an object that is visible once it is complete.

    Objects are written from the first byte to the last. Where tensors come in another order than they have in their
    file, the file is gathered on the disk first (`TMPDIR`).
    """

    def __init__(self, store: Store, check: Check) -> None:
        self._store = store
        self._check = check
        self._files: dict[str, _Shard] = {}
        self._executor: ThreadPoolExecutor | None = None
        self._completing: list[Future[None]] = []
        self.completed: list[str] = []
        """The keys of objects that are visible."""

    def create(self, file: str, header: bytes, size: int, *, is_in_order: bool) -> None:
        """Begin an object with its header."""
        if file in self._files:
            self._files[file].stack.close()
        shard = self._files[file] = _Shard(self._store, file, size)
        if not is_in_order:
            shard.gathered = shard.stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - of the stack
        shard.pending = header

    def write(self, file: str, data: memoryview, position: int) -> None:
        """Write bytes at a position of an object."""
        self._files[file].write(data, position)

    def end(self, file: str) -> None:
        """Have an object completed, while the next one is written."""
        self._executor = self._executor or ThreadPoolExecutor(1, "prune-complete")
        self._completing.append(self._executor.submit(self._complete, self._files.pop(file)))

    def finish(self) -> None:
        """Wait until all objects are complete; those that have not ended are given up."""
        try:
            if self._executor is not None:
                self._executor.shutdown()
                for each in self._completing:
                    each.result()
        finally:
            self._executor, self._completing = None, []
            while self._files:
                self._files.popitem()[1].stack.close()

    def _complete(self, shard: "_Shard") -> None:
        with shard.stack:
            shard.complete(self._check)
        self.completed.append(shard.key)


@dataclass(slots=True)
class _Shard:
    """One object, on its way; `gathered`: on the disk, if its bytes come in another order. `pending`: its header."""

    store: Store
    key: str
    size: int
    gathered: IO[bytes] | None = None
    pending: bytes = b""
    stack: ExitStack = field(default_factory=ExitStack)
    _writer: Writer | None = None
    _at: int = 0

    def write(self, data: memoryview, position: int) -> None:
        self._write_header()
        if self.gathered is not None:
            self.gathered.seek(position)
            self.gathered.write(data)
        else:
            self._append(data, position)

    def complete(self, check: Check) -> None:
        self._write_header()
        if self.gathered is not None:
            file, self.gathered = self.gathered, None
            file.seek(0)
            while block := file.read(_BLOCK_BYTES):
                self._append(block, self._at)
        if self._writer is None or self._at != self.size:
            raise RuntimeError(f"{self.key} has {self._at:,} of {self.size:,} bytes")
        check()
        self._writer.complete()

    def _write_header(self) -> None:
        header, self.pending = self.pending, b""
        if header:
            self.write(memoryview(header), 0)

    def _append(self, data: Data, position: int) -> None:
        if position != self._at:
            raise RuntimeError(f"bytes of {self.key} at {position:,} where those at {self._at:,} follow")
        if self._writer is None:
            self._writer = self.stack.enter_context(self.store.writer(self.key, self.size))
        self._writer.write(data)
        self._at += len(data)
