"""The network of one attempt: gRPC's sync stub, a thread of gRPC's that sends, and one of ours that receives.

The thinking is in `exchange`. Reading goes on while the other thread sends, so that neither side waits for the
other for ever; and when the call ends, for whatever reason, the sender is released.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import grpc

from pruning_client.calls.exchange import Exchange, Watcher, model_bytes
from pruning_client.transport.main_thread import run_outside_main_thread
from pruning_proto.framing import Data
from pruning_proto.v1.pruning_pb2 import PruneRequest

Begin: TypeAlias = Callable[[Iterator[PruneRequest | Data]], Any]
"""Begins a call with its requests; what it gives is at once the call and the iterator of responses."""

END_GRACE_SECONDS: Final = 5.0
"""How long a call may go on after its `failure`. Servers of this project end it within 2 s."""


def converse(begin: Begin, exchange: Exchange, write: Callable[[Data], object], watcher: Watcher | None = None) -> None:
    """Carry out a call, to its end or the first failure; `write` is given the result's bytes.

    Raises: grpc.RpcError if the call fails for a reason that `exchange` does not know. ProtocolError.
    Whatever `write`, the source or `watcher` raise.
    """
    conversation = _Conversation(begin, exchange, write, _Teller(exchange, watcher))
    run_outside_main_thread(conversation.run, conversation.end)


class _Conversation:
    """A call under way. `end` may come from any thread, and before the call has begun."""

    def __init__(
        self, begin: Begin, exchange: Exchange, write: Callable[[Data], object], tell: Callable[[], None]
    ) -> None:
        self._begin = begin
        self._exchange = exchange
        self._write = write
        self._tell = tell
        self._sender = _Sender(exchange, tell, self.end)
        self._farewell: threading.Timer | None = None
        self._call: Any = None
        self._is_ended = False

    def end(self) -> None:
        """End the call now."""
        self._is_ended = True
        if self._call is not None:
            self._call.cancel()

    def run(self) -> None:
        """Carry it out."""
        sender = self._sender
        try:
            self._call = self._begin(iter(sender))
            if self._is_ended:
                self._call.cancel()
            self._receive(self._call)
        except grpc.RpcError:
            if sender.cause is None and self._exchange.failure is None:
                raise
        finally:
            if self._farewell is not None:
                self._farewell.cancel()
            sender.stop()
            self.end()
        if sender.cause is not None:
            raise sender.cause

    def _receive(self, call: Any) -> None:
        for message in call:
            data = self._exchange.receive(message)
            self._sender.look()
            if data is not None:
                self._write(data)
            elif self._exchange.failure is not None and self._farewell is None:
                self._farewell = threading.Timer(END_GRACE_SECONDS, self.end)
                self._farewell.start()
            self._tell()


class _Sender:
    """The requests of a call, made in gRPC's thread.

    An exception in there would surface as nothing but "Exception iterating requests!": it is kept as `cause`.
    """

    def __init__(self, exchange: Exchange, tell: Callable[[], None], end: Callable[[], None]) -> None:
        self.cause: BaseException | None = None
        self._exchange = exchange
        self._tell = tell
        self._end = end
        self._may_go_on = threading.Event()
        self._stopped = False

    def look(self) -> None:
        """Go on, or stop, if what came allows it."""
        if self._exchange.plan is not None or self._exchange.failure is not None:
            self._may_go_on.set()

    def stop(self) -> None:
        """Send no more."""
        self._stopped = True
        self._may_go_on.set()

    def __iter__(self) -> Iterator[PruneRequest | Data]:
        try:
            yield from self._messages()
        except GeneratorExit:  # the call has ended, and gRPC wants no more
            raise
        except BaseException as error:  # noqa: BLE001 - of the caller's tensors or callback: whatever it is, the caller gets it
            self.cause = error
            self._end()

    def _messages(self) -> Iterator[PruneRequest | Data]:
        for message in self._exchange.opening():
            yield message
            self._exchange.sent(model_bytes(message))
        if self._exchange.waits_for_plan:
            self._may_go_on.wait()
        for data in self._exchange.body():
            if self._stopped or self._exchange.failure is not None:
                return
            yield data
            self._exchange.sent(len(data))
            self._tell()


class _Teller:
    """Tells a watcher, one thread at a time."""

    def __init__(self, exchange: Exchange, watcher: Watcher | None) -> None:
        self._exchange = exchange
        self._watcher = watcher
        self._lock = threading.Lock()

    def __call__(self) -> None:
        if self._watcher is None:
            return
        with self._lock:
            self._watcher(self._exchange.progress)
