"""The bytes of a safetensors file to the tensors of its parameters, as they arrive.

Each tensor lands in an aligned buffer of its own, which the engine may prune in place. A parameter is complete once the
last of its tensors is in: its weight, its pair's mask, its companions.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
import torch

from pruning_engine.planning.plan import Plan, PlannedParameter
from pruning_engine.torch_tensors import TORCH_DTYPES
from pruning_proto.reasons import Reason
from pruning_proto.safetensors import header as layout
from pruning_proto.safetensors.header import PREFIX_BYTES, Layout, TensorEntry
from pruning_service.resources.memory_budget import Reservation
from pruning_service.resources.memory_estimate import HEADER_COST
from pruning_service.resources.threads import run_in_thread_if_large
from pruning_service.status import Refusal
from pruning_service.streams.buffers import Buffers
from pruning_service.streams.request_stream import RequestStream

MANY_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class ReceivedParameter:
    """A parameter and its tensors that are in: by name, what the file says of each, and its bytes (uint8, flat)."""

    planned: PlannedParameter
    tensors: dict[str, tuple[TensorEntry, torch.Tensor]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether all its tensors are in."""
        return len(self.tensors) == len(self.planned.sources)

    @property
    def nbytes(self) -> int:
        """Bytes of all its tensors that are in."""
        return sum(buffer.nbytes for _, buffer in self.tensors.values())

    def typed(self) -> dict[str, torch.Tensor]:
        """View the bytes as what the file says they are. Only for dtypes that torch has, as all prunable ones are."""
        return {name: _typed(entry, buffer) for name, (entry, buffer) in self.tensors.items()}


def _typed(entry: TensorEntry, buffer: torch.Tensor) -> torch.Tensor:
    dtype = TORCH_DTYPES.get(entry.dtype)
    if dtype is None:
        raise RuntimeError(f"{entry.name!r} is {entry.dtype}, which can only pass through")
    return buffer.view(dtype).reshape(entry.shape)


def _incomplete(plan: Plan) -> dict[str, ReceivedParameter]:
    """Every parameter of a plan, by the name of each of its sources."""
    return {
        source: arrived for arrived in map(ReceivedParameter, plan.parameters) for source in arrived.planned.sources
    }


def _copy(data: memoryview, target: memoryview) -> None:
    """Copy bytes; many of them without the interpreter's lock, for others wait for it while fresh memory is touched."""
    if len(data) < MANY_BYTES:
        target[:] = data
    else:
        np.copyto(np.frombuffer(target, np.uint8), np.frombuffer(data, np.uint8))


class TensorReader:
    """One file on its way in. `header` first, then `parameters`."""

    def __init__(self, request_stream: RequestStream, total_bytes: int) -> None:
        self._inbox = request_stream
        self._total_bytes = total_bytes
        self._header_bytes = 0
        self._data = memoryview(b"")

    async def header(self, limit_bytes: int, most_tensors: int, reservation: Reservation) -> Layout:
        """Receive and parse the header, off the event loop. Raises: Refusal, LayoutError."""
        if self._total_bytes < PREFIX_BYTES:
            raise self._mismatch("a safetensors file begins with 8 bytes of header length")
        prefix = await self._take(bytearray(PREFIX_BYTES))
        json_bytes = self._header_bytes = layout.json_bytes(prefix, limit_bytes)
        if PREFIX_BYTES + json_bytes > self._total_bytes:
            raise self._mismatch(f"its header alone takes {PREFIX_BYTES + json_bytes:,}")
        await reservation.grow(json_bytes)  # no more while it comes: a client may take its time
        text = await self._take(bytearray(json_bytes))
        await reservation.grow(HEADER_COST * json_bytes)
        parsed = await run_in_thread_if_large(partial(layout.parse, text, most_tensors), json_bytes)
        if parsed.total_bytes != self._total_bytes:
            raise self._mismatch(f"its header describes {parsed.total_bytes:,}")
        return parsed

    async def parameters(
        self, entries: tuple[TensorEntry, ...], plan: Plan, buffers: Buffers
    ) -> AsyncIterator[ReceivedParameter]:
        """Give each parameter as soon as it is complete; `entries` is the file's layout. Raises: Refusal."""
        incomplete = await run_in_thread_if_large(partial(_incomplete, plan), self._header_bytes)
        for entry in entries:
            buffer = buffers.take(entry.end - entry.begin)
            await self._fill(buffer.numpy().data)
            arrived = incomplete.pop(entry.name)
            arrived.tensors[entry.name] = (entry, buffer)
            if arrived.is_complete:
                yield arrived
        await self.end()

    async def end(self, why: str = "") -> None:
        """Wait for the half-close. Raises: Refusal OVERLONG if more bytes come."""
        if len(self._data) or await self._inbox.data() is not None:
            why = why or f"more bytes came than the {self._total_bytes:,} that total_bytes announced"
            raise Refusal(reason=Reason.OVERLONG, message=f"{why}; half-close there")

    async def _take(self, buffer: bytearray) -> bytearray:
        await self._fill(memoryview(buffer))
        return buffer

    async def _fill(self, target: memoryview) -> None:
        while len(target):
            if not len(self._data):
                await self._receive()
            taken = min(len(target), len(self._data))
            _copy(self._data[:taken], target[:taken])
            target, self._data = target[taken:], self._data[taken:]

    async def _receive(self) -> None:
        data = await self._inbox.data()
        if data is None:
            raise Refusal(
                reason=Reason.TRUNCATED,
                message=f"the stream ended after {self._inbox.received_bytes:,} of {self._total_bytes:,} bytes",
            )
        self._data = data

    def _mismatch(self, what: str) -> Refusal:
        return Refusal(
            reason=Reason.TOTAL_BYTES_MISMATCH,
            message=f"total_bytes announced a file of {self._total_bytes:,} bytes, but {what}",
            metadata={"field": "total_bytes"},
        )
