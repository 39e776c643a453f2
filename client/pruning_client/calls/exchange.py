"""One attempt of a Prune call without any I/O: what to send, and what to make of what is received.

A shell around it (gRPC's in `transport`, the command line's in one process) sends `opening()` and then `body()`, after
the plan if `waits_for_plan`. Meanwhile it hands every received message to `receive`, and writes the bytes that this
returns to the result. When the call has ended it calls `finish`.
The rule: nothing counts before the whole plan, the whole result and the whole report have come, and then OK. Nothing is
kept that the request cannot have: `described_tensors` bounds plan and report, `expected_result` the result.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias

from pruning_client.calls.chunks import chunks
from pruning_client.calls.described_tensors import DescribedTensors, check_ranges
from pruning_client.calls.digests import Digests
from pruning_client.calls.expected_result import check_header, check_removed, most_header_bytes
from pruning_client.calls.outcome import Outcome
from pruning_client.calls.renumbered import check_names, result_names
from pruning_client.calls.request import PruneRequestSpec
from pruning_client.checkpoints.byte_ranges import ByteRanges, other_ranges
from pruning_client.checkpoints.file import Source
from pruning_client.errors import ProtocolError, PruningError
from pruning_client.errors.from_server import from_failure
from pruning_client.results.plan import Plan, plan_of
from pruning_client.results.report import report_of
from pruning_proto.formats import BY_NUMBER
from pruning_proto.framing import Data, encode_whole
from pruning_proto.limits import CHUNK_BYTES, MIB, WHOLE_BYTES
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import PREFIX_BYTES, Layout, LayoutError, json_bytes, parse
from pruning_proto.v1 import pruning_pb2 as pb

WAIT_BYTES: Final = 4 * MIB
"""Files larger than this wait for the plan: a refusal then costs the header and not the model."""

WHOLE_HEADER_BYTES: Final = 16 * 1024
"""The longest header of a file that is sent in one message: of about 150 tensors."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call has come.

    Units: bytes. `result_bytes` is None until the plan gives it (or the result's header, for formats whose plan
    cannot), and where there is no result. `attempt` counts from 1; each starts from zero. `searched_bytes` were read
    before the model is sent, by a run in this process whose rules of global scope find their cuts so.

    Example:
        >>> seen = []
        >>> _ = client.prune({"fc1.weight": weight}, rules.l1_unstructured(0.5), progress=seen.append)
        >>> seen[-1].sent_bytes == seen[-1].total_bytes
        True
    """

    sent_bytes: int
    total_bytes: int
    received_bytes: int
    result_bytes: int | None
    attempt: int = 1
    searched_bytes: int = 0


Watcher: TypeAlias = Callable[[Progress], object]
"""Called with the progress: by `Client` from threads of its own, one at a time; by `AsyncClient` on the event loop."""


class Exchange:
    """The state of one attempt of a call.

    Attributes:
        options: the first message: what is asked.
        plan: the whole plan; None before its last part has come.
        failure: why the server refused; once it is set nothing more is to be sent.
        is_answered: whether anything was received at all.
        sent_bytes: of the model. The shell reports them by `sent`.
        received_bytes: of the result.
    """

    def __init__(self, request: PruneRequestSpec, attempt: int = 1) -> None:
        self.options = request.message
        self.plan: Plan | None = None
        self.failure: PruningError | None = None
        self.is_answered = False
        self.sent_bytes = 0
        self.received_bytes = 0
        self._source = request.source
        self._format = BY_NUMBER[request.options.output]
        self._attempt = attempt
        self._searched_bytes = 0
        self._plans: list[pb.Plan] = []
        self._reports: list[pb.Report] = []
        self._request = request
        self._described = DescribedTensors(request)
        self._result = _ResultHeader(request)
        self._digests = Digests() if request.options.digests else None
        self._skipped: Sequence[tuple[int, int]] = ()  # what the plan says is not needed, and is not sent
        self._skipped_bytes = 0

    @property
    def source(self) -> Source:
        """What is sent."""
        return self._source

    @property
    def total_bytes(self) -> int:
        """Bytes to send in all: of the file, but for those that the plan says are not needed."""
        return self._source.layout.total_bytes - self._skipped_bytes

    @property
    def header_bytes(self) -> int:
        """Bytes of the model's header: a measure of the length of plan, report and result's header too."""
        return len(self._source.header)

    @property
    def takes_digests(self) -> bool:
        """Whether the bytes that are received are hashed."""
        return self._digests is not None

    @property
    def progress(self) -> Progress:
        """How far the call has come."""
        return Progress(
            sent_bytes=self.sent_bytes,
            total_bytes=self.total_bytes,
            received_bytes=self.received_bytes,
            result_bytes=self._result_bytes,
            attempt=self._attempt,
            searched_bytes=self._searched_bytes,
        )

    @property
    def _result_bytes(self) -> int | None:
        if self.plan is not None and self.plan.result_bytes is not None:
            return self.plan.result_bytes
        return None if self.result_layout is None else self.result_layout.total_bytes

    @property
    def result_layout(self) -> Layout | None:
        """What the header of the result says; None before it has come."""
        return self._result.layout

    @property
    def original_names(self) -> Mapping[str, str]:
        """The source's names of the result's tensors that are renumbered; empty before the plan has come."""
        if self.plan is None:
            return {}
        names = result_names(self.plan, (entry.name for entry in self._source.layout.tensors))
        return {new: name for name, new in names.items() if new != name}

    @property
    def waits_for_plan(self) -> bool:
        """Whether `body` is to be sent only once `plan` is set."""
        return self._source.layout.total_bytes > WAIT_BYTES or self._request.leaves_out_skipped

    @property
    def fits_in_one_message(self) -> bool:
        """Whether `whole` may be sent instead of `opening` and `body`. Its plan and report are short, too."""
        return (
            self._source.layout.total_bytes <= WHOLE_BYTES
            and self.header_bytes <= WHOLE_HEADER_BYTES
            and self.options.ByteSize() <= WHOLE_BYTES
            and self._digests is None
            and not self.waits_for_plan
        )

    def whole(self) -> bytes:
        """Return the only message of a small model, serialized."""
        pieces = self._file() if self._format.takes_weights else iter([memoryview(self._source.header)])
        data = b"".join(map(bytes, pieces))  # each copied before the next is read: all may be in the same memory
        self.sent(len(data))
        return encode_whole(pb.PruneRequest(options=self.options), data)

    @property
    def is_not_taken_whole(self) -> bool:
        """Whether the call was refused by a server that knows no `whole`, or no other part of it."""
        return self.failure is not None and self.failure.reason == Reason.UNSUPPORTED_FIELD

    def begin_again(self) -> None:
        """Forget what was sent and that it was refused: it is to be sent in another way."""
        self.failure, self.is_answered, self.sent_bytes = None, False, 0

    def opening(self) -> Iterator[pb.PruneRequest | Data]:
        """Return the messages that come first: the options, and the header if the rest does not follow at once."""
        yield pb.PruneRequest(options=self.options)
        if self._sends_header_first:
            yield from self._data([memoryview(self._source.header)])

    def body(self) -> Iterator[Data]:
        """Return the messages with the rest of the file; none where only a plan is asked for.

        Each is to be sent, or copied, before the next is asked for.
        """
        if not self._sends_header_first:  # in one message with what follows
            yield from self._data(self._file())
        elif self._format.takes_weights:
            yield from self._data(self._pieces())

    def _file(self) -> Iterator[memoryview]:
        """Return all of the file."""
        return chain([memoryview(self._source.header)], self._source.pieces())

    def _pieces(self) -> Iterator[memoryview]:
        """Return the buffer, without what the plan says is not needed."""
        skipped, size = self._skipped, self._source.layout.buffer_bytes
        return self._source.pieces(other_ranges(skipped, size) if skipped else None)

    def read_again(self, ranges: ByteRanges) -> Iterator[memoryview]:
        """Return ranges of the buffer once more, in pieces; use each before asking for the next.

        Raises: OSError. CheckpointError if the source has changed.
        """
        for piece in self._source.pieces(ranges):
            yield piece
            self._searched_bytes += len(piece)

    @property
    def _sends_header_first(self) -> bool:
        return self.waits_for_plan or not self._format.takes_weights

    def _data(self, pieces: Iterable[memoryview]) -> Iterator[Data]:
        data = chunks(pieces, CHUNK_BYTES)
        return data if self._digests is None else self._digests.sending(data)

    def sent(self, count: int) -> None:
        """Add to the bytes of the model that were sent."""
        self.sent_bytes += count

    def receive(self, message: pb.PruneResponse | memoryview) -> memoryview | None:
        """Take one message; return the bytes of the result in it, if any.

        Raises: ProtocolError if it breaks the order of the stream.
        """
        self.is_answered = True
        if isinstance(message, memoryview):
            return self._receive_data(message)
        kind = message.WhichOneof("message")
        if kind == "plan":
            self._receive_plan(message.plan)
        elif kind == "report":
            self._receive_report(message.report)
        elif kind == "failure":
            self.failure = from_failure(message.failure)
        elif kind == "whole":
            return self._receive_whole(message.whole)
        return None  # progress only shows that the server works; what a newer server adds is ignored

    def _receive_whole(self, whole: pb.WholeResponse) -> memoryview | None:
        self._receive_plan(whole.plan)
        data = self._receive_data(memoryview(whole.data)) if whole.data else None
        self._receive_report(whole.report)
        return data

    def _receive_plan(self, plan: pb.Plan) -> None:
        if self.plan is not None:
            raise _out_of_order("a plan after the last one")
        self._described.check_plan(plan)
        self._plans.append(plan)
        if plan.last:
            self.plan = plan_of(self._plans)
            check_ranges(self.plan.skipped, self._source.layout.buffer_bytes)
            check_names(self.plan)
            if self._request.leaves_out_skipped:
                self._skipped = self.plan.skipped
                self._skipped_bytes = sum(end - begin for begin, end in self._skipped)

    def _receive_data(self, data: memoryview) -> memoryview:
        if self.plan is None:
            raise _out_of_order("data before the plan")
        if self._reports or not self._format.has_file:
            raise _out_of_order("data where none belongs")
        self.received_bytes += len(data)
        layout = self._result.add(data)
        if layout is not None:
            check_header(layout, self._request, self.plan)
        self._check_size(self.plan)
        if self._digests is not None:
            self._digests.received(data)
        return data

    def _check_size(self, plan: Plan) -> None:
        """Refuse a result before memory is allocated for it, and one that does not end."""
        layout = self._result.layout
        if layout is None:
            return
        announced = layout.total_bytes if plan.result_bytes is None else plan.result_bytes
        if layout.total_bytes != announced:
            raise ProtocolError(
                f"the result's header describes {layout.total_bytes:,} bytes, the plan announced {announced:,}",
                reason=Reason.TOTAL_BYTES_MISMATCH,
            )
        if self.received_bytes > layout.total_bytes:
            raise _out_of_order(f"more than the {layout.total_bytes:,} bytes that the result's header describes")

    def written_elsewhere(self, size: int) -> None:
        """Take note of bytes of the result that others have written, whose header was received."""
        self.received_bytes += size

    def _receive_report(self, report: pb.Report) -> None:
        if self.plan is None or (self._reports and self._reports[-1].last):
            raise _out_of_order("a report before the plan or after the last one")
        self._described.check_report(report)
        self._reports.append(report)

    def finish(self) -> Outcome:
        """Return what the call returned, once it has ended with OK.

        Raises: PruningError that the server sent. ProtocolError if something is missing.
        """
        if self.failure is not None:
            raise self.failure
        if self.plan is None:
            raise _incomplete("the plan")
        if not self._format.takes_weights:
            return Outcome(self.plan, None, b"", None)
        if not self._reports or not self._reports[-1].last:
            raise _incomplete("the report")
        report = report_of(self._reports, self.plan)
        header, layout = self._whole_result() if self._format.has_file else (b"", None)
        if layout is not None and self._format.needs_units:
            check_removed(layout, self._request, self.plan, report)
        if self._digests is not None:
            self._digests.check(report, has_result=layout is not None)
        return Outcome(self.plan, report, header, layout)

    def _whole_result(self) -> tuple[bytes, Layout]:
        layout = self._result.layout
        if layout is None:
            raise _incomplete("the result's header")
        if self.received_bytes < layout.total_bytes:
            raise _incomplete(
                f"the whole result ({self.received_bytes:,} bytes came; its header describes {layout.total_bytes:,})"
            )
        return self._result.header, layout


class _ResultHeader:
    """The header of the result, gathered from chunks that are cut anywhere."""

    def __init__(self, request: PruneRequestSpec) -> None:
        self._most_bytes = most_header_bytes(request)
        self._gathered = bytearray()
        self.header = b""
        self.layout: Layout | None = None

    def add(self, data: memoryview) -> Layout | None:
        """Take bytes of the result; return the header if these complete it."""
        if self.layout is not None:
            return None
        self._gathered += data
        try:
            self._parse()
        except LayoutError as error:
            raise ProtocolError(f"the server's result is not a valid safetensors file: {error}") from error
        return self.layout

    def _parse(self) -> None:
        if len(self._gathered) < PREFIX_BYTES:
            return
        end = PREFIX_BYTES + json_bytes(self._gathered[:PREFIX_BYTES], self._most_bytes)
        if len(self._gathered) >= end:
            self.header = bytes(self._gathered[:end])
            self.layout = parse(self.header[PREFIX_BYTES:])
            self._gathered.clear()


def model_bytes(message: pb.PruneRequest | Data) -> int:
    """Return the number of bytes of the model in a message."""
    return 0 if isinstance(message, pb.PruneRequest) else len(message)


def _out_of_order(message: str) -> ProtocolError:
    return ProtocolError(f"the server sent {message}", reason=Reason.UNEXPECTED_MESSAGE)


def _incomplete(missing: str) -> ProtocolError:
    return ProtocolError(f"the call ended well, but without {missing}", reason=Reason.TRUNCATED)
