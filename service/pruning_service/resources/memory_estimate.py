"""What a call reserves: the most bytes that the server holds for it at one time, known once its header is in.

    the header, its plan and its report
    + what the engine holds at that moment
    + what arrives while the engine is at work: all tensors up to the next complete parameter
    + results that the client has not read: up to the backlog, and the part of the first one that has been read;
      or all of them, if their header is known only at the end, unless they wait in a file; and the largest once more,
      if each is encoded anew
    + what gRPC holds of messages under way, and the gaps that they leave

The worst moment counts, with a client that reads as slowly as it is allowed to.
"""

from collections import deque
from collections.abc import Iterable
from enum import Enum, auto
from math import inf
from typing import Final

from pruning_engine.planning.plan import Plan
from pruning_engine.runtime.threads import get_threads
from pruning_proto.limits import MIB
from pruning_proto.packed.format import ENTRIES
from pruning_proto.packed.frames import most_bytes, width_of
from pruning_proto.safetensors.header import Layout
from pruning_service.resources.process_memory import MAPPED_BYTES

HEADER_COST: Final = 25
"""Bytes that a header, its plan and its report take at most for each byte of JSON (measured: 16 MiB take up to 400)."""

OPTIONS_COST: Final = 192
"""Bytes that options, their plan and their report take at most for each byte of theirs.

Measured: 160 for 100,000 groups of one tensor, 112 for groups that are refused, 92 for empty slices, 79 for names of
one letter, 31 for indices. Protobuf's part of it is 40.
"""

UNCHARGED_OPTIONS_BYTES: Final = 64 * 1024
"""Options up to this length are not reserved for, nor is this part of longer ones: they take 12 MiB at most."""

EXPRESSION_BYTES: Final = MIB
"""What a regular expression takes at most while a call is planned: RE2's limit is set to that."""

UNCHARGED_EXPRESSIONS: Final = 8
"""Regular expressions that are not reserved for."""

UNDER_WAY_BYTES: Final = 10 * MIB
"""What gRPC's buffers and windows hold of a stream each way (measured: 0 to 16 MiB, both ways together 5 to 30)."""

GAP_BYTES: Final = 20 * MIB
"""What messages leave free at most between tensors that are in the heap with them (measured: 22 for 64 MiB)."""

SPOOLED_PIECE_BYTES: Final = 4 * MIB
"""What is read at a time of results that wait in a file."""

_COPIES: Final = 5
"""Of what threads compress: the stored entries, by bytes, with their mask, in a frame; and zstd's tables."""


class Late(Enum):
    """Whether no result is sent before all are finished, and where they are until then."""

    NO = auto()
    IN_MEMORY = auto()
    IN_FILE = auto()


def options_bytes(message_bytes: int) -> int:
    """Return the bytes to reserve for options before anything is made of them."""
    return OPTIONS_COST * max(0, message_bytes - UNCHARGED_OPTIONS_BYTES)


def expressions_bytes(expressions: int) -> int:
    """Return the bytes to reserve for regular expressions before they are compiled."""
    return EXPRESSION_BYTES * max(0, expressions - UNCHARGED_EXPRESSIONS)


def peak_bytes(
    plan: Plan, file: Layout, backlog_bytes: int, late: Late = Late.NO, *, is_made_anew: bool = False
) -> int:
    """Return the bytes to reserve for the plan of a file. `is_made_anew`: each result is encoded into new memory."""
    unread = _Unread({Late.NO: backlog_bytes, Late.IN_MEMORY: inf, Late.IN_FILE: 0}[late])
    ahead = [*(moment.arrived_bytes for moment in plan.memory_profile[1:]), 0]
    worst = 0
    for moment, arriving_bytes in zip(plan.memory_profile, ahead, strict=False):
        worst = max(worst, moment.held_bytes + unread.retained_bytes + arriving_bytes)
        unread.add(moment.left_bytes)
    worst = max(worst, unread.retained_bytes if late is Late.IN_MEMORY else 0)
    worst = max(worst, backlog_bytes + 2 * SPOOLED_PIECE_BYTES if late is Late.IN_FILE else 0)
    if is_made_anew:
        worst += max((max(moment.left_bytes, default=0) for moment in plan.memory_profile), default=0)
    result_bytes = sum(sum(moment.left_bytes) for moment in plan.memory_profile)
    under_way = min(file.buffer_bytes, UNDER_WAY_BYTES) + min(result_bytes, UNDER_WAY_BYTES)
    return HEADER_COST * file.header_bytes + worst + under_way + _gaps(file)


def compressing_bytes(plan: Plan) -> int:
    """Return what compressing takes at most, beside the tensor before and after it: its frames, and those under way."""
    entries = get_threads() * ENTRIES
    return max(
        (spec.nbytes + _COPIES * min(spec.nbytes, entries * width_of(spec.dtype)) for spec in plan.results), default=0
    )


def most_late_bytes(plan: Plan, *, is_compressed: bool) -> int:
    """Return the most bytes that the results take, as they are stored in a file whose header is late.

    No tensor takes more than it does unpacked, or with all its channels; but for what zstd cannot compress.
    """
    return sum(most_bytes(spec.dtype, spec.nbytes) if is_compressed else spec.nbytes for spec in plan.results)


def _gaps(file: Layout) -> int:
    """Return what is free between the tensors of a file while they come; large ones are not in the heap."""
    sizes = (entry.end - entry.begin for entry in file.tensors)
    return min(sum(size for size in sizes if size < MAPPED_BYTES) // 2, GAP_BYTES)


class _Unread:
    """Results in memory until a slow client has read them. One that is read in part is held whole."""

    def __init__(self, backlog_bytes: float) -> None:
        self.retained_bytes = 0
        self._backlog_bytes = backlog_bytes
        self._sizes: deque[int] = deque()

    def add(self, sizes: Iterable[int]) -> None:
        """Write results, waiting for the client whenever more than the backlog is unread."""
        for size in sizes:
            self._sizes.append(size)
            self.retained_bytes += size
            while self._sizes and self.retained_bytes - self._sizes[0] >= self._backlog_bytes:
                self.retained_bytes -= self._sizes.popleft()
