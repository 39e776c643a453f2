"""Calls of bytes on one connection: any message, sound or not, ended in any way. What came of each is an `Ended`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Queue
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from pruning_proto.names import PRUNE_PATH
from pruning_proto.v1 import pruning_pb2 as pb

TIMEOUT_SECONDS = 30


@dataclass
class Ended:
    """How a call ended: its messages, its status, and the reason in the status's details."""

    messages: list[pb.PruneResponse] = field(default_factory=list)
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""

    @property
    def outcome(self) -> str:
        """OK, the reason that was sent in-band and as status alike, or what the two said where they differ."""
        if self.code is grpc.StatusCode.OK:
            return "OK"
        in_band = self.messages[-1].failure.reason if self.messages else ""
        return in_band if in_band and in_band == self.reason else f"{self.code.name} ({in_band!r} / {self.reason!r})"

    @property
    def data(self) -> bytes:
        """The result's bytes."""
        return b"".join(message.data for message in self.messages)


class Line:
    """A connection to a server."""

    def __init__(self, channel: grpc.Channel, seconds: float = TIMEOUT_SECONDS) -> None:
        self._seconds = seconds
        self._prune: Any = channel.stream_stream(PRUNE_PATH, None, pb.PruneResponse.FromString)

    def call(self, messages: Iterable[bytes]) -> Ended:
        """Send messages, half-close, and read to the end."""
        return ended(self._prune(iter(messages), timeout=self._seconds))

    def cancelled(self, messages: Iterable[bytes]) -> Ended:
        """Send messages and cancel once the last is on its way."""
        calls: Queue[Any] = Queue()

        def until_cancelled() -> Iterator[bytes]:
            yield from messages  # gRPC asks for the next one when it has written the last
            calls.get().cancel()

        call = self._prune(until_cancelled(), timeout=self._seconds)
        calls.put(call)
        return ended(call)

    def unread(self, messages: Iterable[bytes]) -> Any:
        """Begin to send messages and read nothing; return gRPC's call."""
        return self._prune(iter(messages), timeout=self._seconds)


def ended(call: Any) -> Ended:
    """Read a call to its end."""
    outcome = Ended()
    try:
        outcome.messages.extend(call)
    except grpc.RpcError as error:
        outcome.code = error.code()
        outcome.reason = reason_of(error)
    return outcome


def reason_of(error: Any) -> str:
    """Return the reason in a status's details; empty if it has none."""
    info = error_details_pb2.ErrorInfo()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            any(detail.Unpack(info) for detail in status_pb2.Status.FromString(value).details)
    return str(info.reason)


@contextmanager
def line_to(address: str, seconds: float = TIMEOUT_SECONDS) -> Iterator[Line]:
    """Open a connection while inside. `seconds`: after which a call of it is cancelled."""
    with grpc.insecure_channel(address, [("grpc.max_send_message_length", -1)]) as channel:
        yield Line(channel, seconds)


def encoded(requests: Iterable[pb.PruneRequest]) -> list[bytes]:
    """Return messages as bytes."""
    return [request.SerializeToString() for request in requests]
