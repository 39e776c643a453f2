"""Writes the result of a local run on a thread of its own, while the next tensors are read and pruned."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from pruning_proto.framing import Data
from pruning_proto.limits import CHUNK_BYTES
from pruning_proto.spans import spans


class BackgroundWriter:
    """A context manager that calls `write` for all bytes in order, and has called it for the last ones on the way out.

    Bytes are held by reference until they are written: less than `most_bytes` beside the part that is written now.
    After an error, of a write or of the caller's block, at most the piece of `CHUNK_BYTES` that is begun is written.
    """

    def __init__(self, write: Callable[[Data], object], most_bytes: int) -> None:
        self._write = write
        self._most_bytes = most_bytes
        self._executor = ThreadPoolExecutor(1, "prune-write")
        self._pending: deque[tuple[Future[None], int]] = deque()
        self._held_bytes = 0
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            while error is None and self._pending:
                self._wait_for_first()
        finally:
            self._is_over = True
            self._executor.shutdown(cancel_futures=True)

    def write(self, data: Data) -> None:
        """Hand over bytes, which must stay as they are; wait while too many are behind those that are written now.

        Raises: what an earlier call of `write` raised.
        """
        self._pending.append((self._executor.submit(self._write_pieces, memoryview(data)), len(data)))
        self._held_bytes += len(data)
        while self._is_first_due():
            self._wait_for_first()

    def _write_pieces(self, data: memoryview) -> None:
        for begin, end in spans(len(data), CHUNK_BYTES):
            if self._is_over:
                return
            try:
                self._write(data[begin:end])
            except BaseException:
                self._is_over = True  # what follows has no place in the result
                raise

    def _is_first_due(self) -> bool:
        """Whether the first part is written, or has to be before more is taken."""
        if not self._pending:
            return False
        written, size = self._pending[0]
        return written.done() or self._held_bytes - size >= self._most_bytes

    def _wait_for_first(self) -> None:
        """Wait until the first part is written. Raises: what a call of `write` raised."""
        written, size = self._pending.popleft()
        written.result()
        self._held_bytes -= size
