"""One attempt of a call over gRPC's sync stub, for `Client`.

The state of an attempt is in `calls.exchange`. gRPC sends in a thread of its own, and a thread of ours receives, so
that neither side waits for the other for ever; when the call ends, for whatever reason, the sender is released.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, Final, TypeAlias

import grpc

from pruning_client.calls.exchange import Exchange, Watcher, model_bytes
from pruning_client.transport.main_thread import run_outside_main_thread
from pruning_client.transport.retry import Attempts
from pruning_client.transport.stalled_calls import ended_when_stalled
from pruning_proto.framing import Data
from pruning_proto.v1 import pruning_pb2 as pb

Call: TypeAlias = Any
"""A call, and the iterator of its responses: gRPC has no public type that is both."""

Begin: TypeAlias = Callable[[Any], Call]
"""Begins a call with an iterator of its requests, or with the only one of a small model, serialized."""

Write: TypeAlias = Callable[[Data], object]
"""Takes the bytes of a result, in order."""

END_GRACE_SECONDS: Final = 5.0
"""How long a call may go on after its `failure`. Servers of this project end it within 2 s."""


class StalledError(Exception):
    """Nothing happened in a call for as long as its limit, which moves, allows."""


def converse(  # noqa: PLR0913 - a call, and how it is sent
    begin: Begin,
    exchange: Exchange,
    write: Write,
    watcher: Watcher | None = None,
    attempts: Attempts | None = None,
    *,
    is_whole: bool = False,
) -> None:
    """Carry out a call, to its end or the first failure; `write` takes the result's bytes. `is_whole`: in one message.

    Raises: grpc.RpcError if the call fails for a reason that `exchange` does not know. ProtocolError.
    StalledError if the limit of `attempts` moves, and is reached. Whatever `write`, the source or `watcher` raise.
    """
    conversation = _Conversation(begin, exchange, write, _ProgressReporter(exchange, watcher), is_whole=is_whole)

    def run() -> None:
        with nullcontext() if attempts is None else ended_when_stalled(attempts, conversation.end_stalled):
            conversation.run()

    run_outside_main_thread(run, conversation.end)


class _Conversation:
    """A running call. `end` may be called from any thread, and before the call has begun."""

    def __init__(
        self, begin: Begin, exchange: Exchange, write: Write, report_progress: Callable[[], None], *, is_whole: bool
    ) -> None:
        self._begin = begin
        self._is_whole = is_whole
        self._exchange = exchange
        self._write = write
        self._report_progress = report_progress
        self._sender = _Sender(exchange, report_progress, self.end)
        self._end_timer: threading.Timer | None = None
        self._call: Call = None
        self._is_ended = False

    def end(self) -> None:
        """End the call now."""
        self._is_ended = True
        if self._call is not None:
            self._call.cancel()

    def end_stalled(self) -> None:
        """End the call now, because nothing happens in it."""
        self._sender.cause = self._sender.cause or StalledError()
        self.end()

    def run(self) -> None:
        """Carry it out."""
        sender = self._sender
        try:
            self._call = self._begin(self._exchange.whole() if self._is_whole else iter(sender))
            if self._is_ended:
                self._call.cancel()
            if self._is_whole:
                self._report_progress()
            self._receive(self._call)
        except grpc.RpcError:
            if sender.cause is None and self._exchange.failure is None:
                raise
        finally:
            if self._end_timer is not None:
                self._end_timer.cancel()
            sender.stop()
            self.end()
        if sender.cause is not None:
            raise sender.cause

    def _receive(self, call: Call) -> None:
        for message in call:
            data = self._exchange.receive(message)
            self._report_progress()  # which may end the call: the plan says how large the result will be
            self._sender.proceed()
            if data is not None:
                self._write(data)
            elif self._exchange.failure is not None and self._end_timer is None:
                self._end_timer = threading.Timer(END_GRACE_SECONDS, self.end)
                self._end_timer.start()


class _Sender:
    """The requests of a call, made in gRPC's thread.

    An exception in there would surface as nothing but "Exception iterating requests!": it is kept as `cause`.
    """

    def __init__(self, exchange: Exchange, report_progress: Callable[[], None], end: Callable[[], None]) -> None:
        self.cause: BaseException | None = None
        self._exchange = exchange
        self._report_progress = report_progress
        self._end = end
        self._may_proceed = threading.Event()
        self._is_stopped = False

    def proceed(self) -> None:
        """Send the body, or nothing more, if what was received decides it."""
        if self._exchange.plan is not None or self._exchange.failure is not None:
            self._may_proceed.set()

    def stop(self) -> None:
        """Send no more."""
        self._is_stopped = True
        self._may_proceed.set()

    def __iter__(self) -> Iterator[pb.PruneRequest | Data]:
        try:
            yield from self._messages()
        except GeneratorExit:  # the call has ended, and gRPC wants no more
            raise
        except BaseException as error:  # noqa: BLE001 - of the caller's tensors or callback: raised in the caller's thread
            self.cause = error
            self._end()

    def _messages(self) -> Iterator[pb.PruneRequest | Data]:
        for message in self._exchange.opening():
            yield message
            self._exchange.sent(model_bytes(message))
        if self._exchange.waits_for_plan:
            self._may_proceed.wait()
        for data in self._exchange.body():
            if self._is_stopped or self._exchange.failure is not None:
                return
            yield data
            self._exchange.sent(len(data))
            self._report_progress()


class _ProgressReporter:
    """Calls a watcher, one thread at a time."""

    def __init__(self, exchange: Exchange, watcher: Watcher | None) -> None:
        self._exchange = exchange
        self._watcher = watcher
        self._lock = threading.Lock()

    def __call__(self) -> None:
        if self._watcher is None:
            return
        with self._lock:
            self._watcher(self._exchange.progress)
