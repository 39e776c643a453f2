"""Errors to reasons: any exception of this service to one refusal, and the refusal to the stream's `Failure`.

The table of reasons is `pruning_proto.reasons`. What is not in it leaves as INTERNAL with the request id and no more:
its text is for the log. `rpc.grpc_status` turns a refusal into the status that a gRPC call ends with.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from pruning_engine.errors import PruningError
from pruning_proto import limits
from pruning_proto.reasons import TABLE, Reason, StatusCode
from pruning_proto.safetensors.header import LayoutError
from pruning_proto.v1 import pruning_pb2

LACK_RETRY_SECONDS: Final = 5.0

_LACKING: Final[Mapping[int, str]] = MappingProxyType(
    {
        errno.ENOMEM: "memory",
        errno.ENOSPC: "space on its disk",
        errno.EDQUOT: "space on its disk",
        errno.EFBIG: "space on its disk",
        errno.EMFILE: "file descriptor",
        errno.ENFILE: "file descriptor",
        errno.EAGAIN: "thread or process",  # of fork
    }
)
"""What the system lacks by the number of its error."""

_NO_THREAD: Final = "can't start new thread"
"""Python's words."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One field or tensor that is wrong: its path and what is allowed."""

    field: str
    description: str


@dataclass(kw_only=True, eq=False)  # not frozen: Python writes tracebacks into exceptions
class Refusal(Exception):  # noqa: N818 - not every refusal is somebody's error
    """Why a call ends without a result.

    Units: `retry_seconds`; None where trying the same again does not help.
    """

    reason: Reason
    message: str
    violations: tuple[Violation, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    retry_seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    @property
    def code(self) -> StatusCode:
        """The status that the call ends with."""
        return TABLE[self.reason].code

    @property
    def short_message(self) -> str:
        """The message, shortened to what a status may hold."""
        return shortened(self.message)

    @property
    def reported_violations(self) -> tuple[Violation, ...]:
        """What was wrong, a limited number of places; a refused request without any names its part, if it has one."""
        violations = self.violations
        if not violations and self.code is StatusCode.INVALID_ARGUMENT:
            violations = (Violation(_PARTS.get(self.reason, ""), shortened(self.message, 512)),)
        more = len(violations) - limits.VIOLATIONS
        if more <= 0:
            return violations
        return (*violations[: limits.VIOLATIONS - 1], Violation("", f"and {more + 1} more"))


def refusal_of(error: BaseException, request_id: str) -> Refusal:
    """Return the refusal that `error` amounts to; every exception has one."""
    match error:
        case Refusal():
            return error
        case LayoutError():
            return _refusal(Reason(error.reason), str(error), None, error.tensor)
        case PruningError():
            return _refusal(Reason(error.reason), str(error), error.path, error.tensor)
        case DecodeError():
            return Refusal(reason=Reason.MALFORMED_MESSAGE, message=f"a message is not of the contract: {error}")
    lacking = _lacking(error)
    if lacking is not None:
        return Refusal(
            reason=Reason.NO_ROOM,
            message=f"the server's machine has no {lacking} left at present; try again later",
            metadata={"lacking": lacking},
            retry_seconds=LACK_RETRY_SECONDS,
        )
    return Refusal(
        reason=Reason.INTERNAL,
        message=f"the server failed; its log has the cause under request id {request_id}",
    )


def _lacking(error: BaseException) -> str | None:
    """Return what the system did not have where that is why something failed; None if it is not."""
    if isinstance(error, OSError):
        return _LACKING.get(error.errno or 0)
    if isinstance(error, MemoryError):
        return "memory"
    return "thread" if isinstance(error, RuntimeError) and _NO_THREAD in str(error) else None


def failure(refusal: Refusal, request_id: str) -> pruning_pb2.Failure:
    """Return the message that reports a refusal in the stream."""
    return pruning_pb2.Failure(
        code=int(refusal.code),
        reason=refusal.reason,
        message=refusal.short_message,
        metadata={**refusal.metadata, "request_id": request_id},
        violations=[
            pruning_pb2.FieldViolation(field=violation.field, description=violation.description)
            for violation in refusal.reported_violations
        ],
        retry_after=None if refusal.retry_seconds is None else duration(refusal.retry_seconds),
    )


def drop_tracebacks(error: BaseException | None) -> None:
    """Remove the traceback of an error, and of every error that it came from.

    A traceback holds every frame that the error went through, and so the header, the plan and the buffers of a failed
    call; and a frame that has its error in a variable is part of a cycle, which lives until Python's next full
    collection. Without this, calls that are refused one after the other pile up models that no reservation counts.
    """
    pending = [error]
    seen = set()
    while pending:
        one = pending.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            pending += [one.__cause__, one.__context__]


def shortened(text: str, most_bytes: int = limits.STATUS_MESSAGE_BYTES) -> str:
    """Return a text in at most `most_bytes` of UTF-8."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= most_bytes:
        return encoded.decode()
    return encoded[: most_bytes - 3].decode(errors="ignore") + "..."


def duration(seconds: float) -> Duration:
    """Return seconds as protobuf has them."""
    message = Duration()
    message.FromNanoseconds(int(seconds * 1e9))
    return message


_PARTS = {
    Reason.OPTIONS_FIRST: "options",
    Reason.UNEXPECTED_MESSAGE: "options",
    Reason.TOTAL_BYTES_MISMATCH: "total_bytes",
    Reason.EMPTY_DATA: "data",
    Reason.TRUNCATED: "data",
    Reason.OVERLONG: "data",
    Reason.HEADER_TOO_LARGE: "data",
    Reason.TOO_MANY_TENSORS: "data",
    Reason.INVALID_HEADER: "data",
    Reason.DUPLICATE_NAME: "data",
    Reason.INVALID_HISTORY: "data",
}
"""The part of a request that a reason is about, where it is neither a field of the recipe nor a tensor."""


def _refusal(reason: Reason, message: str, path: str | None, tensor: str | None) -> Refusal:
    places = [path] if path else []
    places += [f'tensors["{tensor}"]'] if tensor else []
    named = {"field": path or "", "tensor": tensor or ""}
    return Refusal(
        reason=reason,
        message=message,
        violations=tuple(Violation(shortened(place, 256), shortened(message, 512)) for place in places),
        metadata={key: shortened(value, 256) for key, value in named.items() if value},
    )
