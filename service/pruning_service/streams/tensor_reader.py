"""The bytes of a safetensors file to the tensors of its parameters, as they arrive.

Each tensor is read into an aligned buffer of its own, which the engine may prune in place. A parameter is complete once
the last of its tensors has been read: its weight, its pair's mask, its auxiliary tensors.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from pruning_engine.buffer import Buffer
from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.planning.plan import Plan, PlannedParameter
from pruning_proto.limits import METADATA_KEYS
from pruning_proto.reasons import Reason
from pruning_proto.safetensors import header as safetensors_header
from pruning_proto.safetensors.header import PREFIX_BYTES, Layout, TensorEntry
from pruning_service.resources.memory_budget import Reservation
from pruning_service.resources.memory_estimate import HEADER_COST
from pruning_service.resources.threads import run_in_thread_if_large, wait_for_disk
from pruning_service.status import Refusal
from pruning_service.streams.buffers import Buffers
from pruning_service.streams.byte_streams import ByteSource, TensorStore
from pruning_service.streams.skipped_ranges import ByteRange, SkippedRanges

MANY_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderLimits:
    """The largest header that is read."""

    header_bytes: int
    max_tensors: int


class TensorReader:
    """Reads one file: `header` first, then `parameters`, or `end` where only the header is sent."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._total_bytes = source.total_bytes
        self._received_bytes = 0
        self._header_bytes = 0
        self._expected_bytes = source.total_bytes
        self._data = memoryview(b"")
        self._parts: deque[memoryview] = deque()
        self._discarded: SkippedRanges | None = None

    async def header(self, limits: HeaderLimits, reservation: Reservation) -> Layout:
        """Read and parse the header, off the event loop. Raises: Refusal, LayoutError."""
        if self._total_bytes < PREFIX_BYTES:
            raise self._mismatch("a safetensors file begins with 8 bytes of header length")
        prefix = await self._read_bytes(PREFIX_BYTES)
        json_bytes = self._header_bytes = safetensors_header.json_bytes(prefix)
        if json_bytes > limits.header_bytes:
            raise Refusal(
                reason=Reason.HEADER_TOO_LARGE,
                message=f"the file's header takes {json_bytes:,} bytes; this server accepts at most "
                f"{limits.header_bytes:,} (its setting PRUNING_HEADER_BYTES)",
            )
        if PREFIX_BYTES + json_bytes > self._total_bytes:
            raise self._mismatch(f"its header alone takes {PREFIX_BYTES + json_bytes:,}")
        await reservation.grow(json_bytes)  # no more while it comes: a client may take its time
        text = await self._read_bytes(json_bytes)
        await reservation.grow(HEADER_COST * json_bytes)
        parsed = await run_in_thread_if_large(partial(parsed_header, text, limits.max_tensors), json_bytes)
        if parsed.total_bytes != self._total_bytes:
            raise self._mismatch(f"its header describes {parsed.total_bytes:,}")
        return parsed

    def leave_out(self, skipped: Sequence[ByteRange], *, is_sent: bool) -> None:
        """Do without ranges of the bytes after the header, which is read. `is_sent`: discard them as they come."""
        if is_sent and skipped:
            self._discarded = SkippedRanges(skipped)
            self._parts.extend(self._discarded.needed(self._data))
            self._data = memoryview(b"")
        if not is_sent:
            self._expected_bytes -= sum(end - begin for begin, end in skipped)

    async def parameters(
        self, entries: tuple[TensorEntry, ...], plan: Plan, buffers: Buffers, store: TensorStore | None = None
    ) -> AsyncGenerator[ReceivedParameter, None]:
        """Yield each parameter as soon as it is complete; `entries` are the header's. `store`: takes every tensor.

        Raises: Refusal; OSError of the store.
        """
        users_by_tensor = await run_in_thread_if_large(partial(users_of, plan.parameters), self._header_bytes)
        for entry in entries:
            memory = buffers.take(entry.end - entry.begin)
            await self._fill(memory.data)
            if store is not None:
                await wait_for_disk(partial(store.append, memory.data), len(memory))
            tensor = Buffer.from_bytes(memory, entry.dtype, entry.shape)
            users = deque(users_by_tensor.pop(entry.name))
            while users:
                received = users.popleft()
                received.tensors[entry.name] = tensor
                if received.is_complete:
                    yield received
            del tensor, received, memory  # the parameters hold them: what is pruned is released while others arrive
        await self.end()

    async def end(self, why: str = "") -> None:
        """Wait for the end of the file. Raises: Refusal OVERLONG if more bytes come."""
        if self._discarded is not None and not self._discarded.is_passed:
            await self._discard_the_last()
        if len(self._data) or self._parts or await self._source.read() is not None:
            why = why or f"more bytes came than the {self._expected_bytes:,} that {self._announced}"
            raise Refusal(reason=Reason.OVERLONG, message=f"{why}; half-close there")

    @property
    def _announced(self) -> str:
        is_whole = self._expected_bytes == self._total_bytes
        return "total_bytes announced" if is_whole else "the plan asked for, without what it skips"

    async def _discard_the_last(self) -> None:
        """Read what is skipped at the end of the file. Raises: Refusal TRUNCATED."""
        while self._discarded is not None and not self._discarded.is_passed:
            self._parts.extend(self._discarded.needed(await self._read_any()))

    async def _read_bytes(self, count: int) -> bytearray:
        target = bytearray(count)
        await self._fill(memoryview(target))
        return target

    async def _fill(self, target: memoryview) -> None:
        while len(target):
            if not len(self._data):
                self._data = await self._read()
            taken = min(len(target), len(self._data))
            _copy(self._data[:taken], target[:taken])
            target, self._data = target[taken:], self._data[taken:]

    async def _read(self) -> memoryview:
        """Return bytes that follow and are needed."""
        while not self._parts:
            data = await self._read_any()
            if self._discarded is None:
                return data
            self._parts.extend(self._discarded.needed(data))
        return self._parts.popleft()

    async def _read_any(self) -> memoryview:
        data = await self._source.read()
        if data is None:
            raise Refusal(
                reason=Reason.TRUNCATED,
                message=f"the stream ended after {self._received_bytes:,} of {self._expected_bytes:,} bytes",
            )
        self._received_bytes += len(data)
        return data

    def _mismatch(self, what: str) -> Refusal:
        return Refusal(
            reason=Reason.TOTAL_BYTES_MISMATCH,
            message=f"total_bytes announced a file of {self._total_bytes:,} bytes, but {what}",
            metadata={"field": "total_bytes"},
        )


def parsed_header(text: bytes | bytearray, most_tensors: int) -> Layout:
    """Return what a header without its prefix says. Raises: Refusal, LayoutError."""
    parsed = safetensors_header.parse(text, most_tensors)
    if (keys := len(parsed.metadata)) > METADATA_KEYS:
        raise Refusal(
            reason=Reason.HEADER_TOO_LARGE,
            message=f"the metadata in the file's header has {keys:,} keys; this server accepts at most "
            f"{METADATA_KEYS:,}: remove what no loader needs",
        )
    return parsed


def users_of(parameters: Iterable[PlannedParameter]) -> dict[str, list[ReceivedParameter]]:
    """Return parameters to be received, by the name of each of their sources: several may use an auxiliary tensor."""
    found: dict[str, list[ReceivedParameter]] = {}
    for received in map(ReceivedParameter, parameters):
        for source in received.planned.sources:
            found.setdefault(source, []).append(received)
    return found


def _copy(data: memoryview, target: memoryview) -> None:
    """Copy bytes; many of them without the GIL, for others wait for it while fresh memory is touched."""
    if len(data) < MANY_BYTES:
        target[:] = data
    else:
        np.copyto(np.frombuffer(target, np.uint8), np.frombuffer(data, np.uint8))
