"""The tensors of a part, read from wherever the checkpoint is, one parameter ahead of the engine."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

from pruning_engine.buffer import Buffer
from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.granularities.rankings.entry_search import Blocks
from pruning_engine.planning.plan import PlannedParameter
from pruning_proto.safetensors.header import TensorEntry
from pruning_service.streams.buffers import Buffers
from pruning_service.streams.skipped_ranges import ByteRange, Remaining
from pruning_service.streams.tensor_reader import users_of

_Item = TypeVar("_Item")


class RangeStore(Protocol):
    """The buffer of a checkpoint, all that follows its header. It is called on other threads, one call at a time."""

    def read_into(self, data: memoryview, begin: int) -> None:
        """Fill `data`, never empty, with the bytes from `begin` on. Raises: whatever ends the part."""

    def read_ranges(self, data: memoryview, ranges: Sequence[ByteRange]) -> None:
        """Fill `data` with the bytes of ranges, one after the other: several that ascend, none of them empty.

        Raises: whatever ends the part.
        """


class PartReader:
    """Reads parameters into memory of `buffers`.

    `entries`: all tensors that remain of the checkpoint, by name. `remaining`: where their bytes are.
    """

    def __init__(
        self, store: RangeStore, entries: Mapping[str, TensorEntry], remaining: Remaining, buffers: Buffers
    ) -> None:
        self._store = store
        self._entries = entries
        self._remaining = remaining
        self._buffers = buffers

    def parameters(self, parameters: Sequence[PlannedParameter]) -> Iterator[ReceivedParameter]:
        """Yield parameters in order, each with all its tensors; a tensor of several is read once.

        Raises: what the store raises.
        """
        users = users_of(parameters)
        received_by_name = {each.planned.name: each for several in users.values() for each in several}
        for planned in parameters:
            for name in planned.sources:
                if name in users:
                    tensor = self.tensor(name)
                    for received in users.pop(name):
                        received.tensors[name] = tensor
                    del tensor, received  # the parameters hold it
            yield received_by_name.pop(planned.name)

    def blocks(
        self, parameters: Iterable[tuple[PlannedParameter, Blocks]]
    ) -> Iterator[tuple[PlannedParameter, Blocks, Buffer]]:
        """Yield parameters with the blocks that stand for them, one after the other. Raises: what the store raises."""
        for planned, blocks in parameters:
            memory = self._buffers.take(blocks.size)
            begin = self._entries[blocks.tensor].begin
            ranges = [(begin + first, begin + last) for first, last in blocks.spans]
            self._fill(memory.data, [each for span in ranges for each in self._remaining.ranges(*span)])
            yield planned, blocks, blocks.buffer(memory)
            del memory

    def tensor(self, name: str) -> Buffer:
        """Read one tensor. Raises: what the store raises."""
        entry = self._entries[name]
        memory = self._buffers.take(entry.end - entry.begin)
        self._fill(memory.data, self._remaining.ranges(entry.begin, entry.end))
        return Buffer.from_bytes(memory, entry.dtype, entry.shape)

    def _fill(self, data: memoryview, ranges: Sequence[ByteRange]) -> None:
        if len(ranges) > 1:
            self._store.read_ranges(data, ranges)
        elif ranges:
            self._store.read_into(data, ranges[0][0])


@contextmanager
def one_ahead(items: Iterator[_Item]) -> Iterator[Iterator[_Item]]:
    """Return the same items; while one is in use, the next one is made on another thread."""
    with ThreadPoolExecutor(1, "reading-ahead") as executor:
        following = executor.submit(next, items, None)

        def taken() -> Iterator[_Item]:
            nonlocal following
            while (item := following.result()) is not None:
                following = executor.submit(next, items, None)
                yield item
                del item

        try:
            yield taken()
        finally:
            following.cancel()
