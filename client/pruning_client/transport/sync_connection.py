"""The connection of a `Client`: a channel of gRPC, and each attempt of a call over it."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from pruning_client.calls.exchange import Exchange, Watcher
from pruning_client.calls.outcome import Outcome
from pruning_client.errors import PruningError, closed_error
from pruning_client.errors.from_server import from_status, late_error
from pruning_client.transport.address_by_address import telling_details
from pruning_client.transport.addresses import Target, name_of
from pruning_client.transport.channel import open_channel
from pruning_client.transport.credentials import Security
from pruning_client.transport.main_thread import run_outside_main_thread
from pruning_client.transport.retry import Attempts
from pruning_client.transport.sync_stream import StalledError, Write, converse
from pruning_proto.framing import decode_response, encode
from pruning_proto.names import GET_CAPABILITIES_PATH, PRUNE_PATH
from pruning_proto.v1 import pruning_pb2 as pb

MessageT = TypeVar("MessageT", bound=Message)


class GrpcConnection:
    """A channel to a server, connected when it is first used. Raises: as `open_channel`."""

    def __init__(self, target: Target, security: Security) -> None:
        self._name = name_of(target)
        self._target = target
        self._security = security
        self._is_closed = False
        self._channel = open_channel(target, security)
        self._takes_whole = True  # until a server says otherwise
        self._prune = self._channel.stream_stream(PRUNE_PATH, encode, decode_response)
        self._prune_whole: Any = self._channel.unary_stream(PRUNE_PATH, None, decode_response)  # the same on the wire
        self._get_capabilities = self._channel.unary_unary(
            GET_CAPABILITIES_PATH,
            pb.GetCapabilitiesRequest.SerializeToString,
            pb.GetCapabilitiesResponse.FromString,
        )

    def close(self) -> None:
        """Close the channel; running calls are cancelled."""
        self._is_closed = True
        self._channel.close()

    def prune(self, exchange: Exchange, write: Write, watcher: Watcher | None, attempts: Attempts) -> Outcome:
        """Carry out one attempt of Prune. Raises: PruningError; whatever `write`, the source or `watcher` raise."""
        is_whole = self._takes_whole and exchange.fits_in_one_message
        metadata = self._security.metadata()  # the time that it takes counts as the call's
        stub = self._prune_whole if is_whole else self._prune
        begin = partial(self._unless_closed, partial(stub, timeout=attempts.deadline, metadata=metadata))
        try:
            converse(begin, exchange, write, attempts.noting(watcher), attempts, is_whole=is_whole)
        except StalledError as error:
            raise late_error(self._name, exchange.sent_bytes if exchange.is_answered else None) from error
        except grpc.RpcError as error:
            raise self._error(error, exchange.sent_bytes if exchange.is_answered else None) from error
        if is_whole and exchange.is_not_taken_whole:
            self._takes_whole = False
            exchange.begin_again()
            return self.prune(exchange, write, watcher, attempts)
        return exchange.finish()

    def capabilities(self, attempts: Attempts) -> pb.GetCapabilitiesResponse:
        """Carry out one attempt of GetCapabilities. Raises: PruningError."""
        metadata = self._security.metadata()  # the time that it takes counts as the call's
        request = pb.GetCapabilitiesRequest()
        ask = partial(self._get_capabilities, request, timeout=attempts.seconds_left, metadata=metadata)
        try:
            response: pb.GetCapabilitiesResponse = run_outside_main_thread(partial(self._unless_closed, ask))
        except grpc.RpcError as error:
            raise self._error(error) from error
        return response

    def ask(self, path: str, request: Message, answer: type[MessageT], attempts: Attempts) -> MessageT:
        """Carry out one attempt of a call with one message each way. Raises: PruningError."""
        metadata = self._security.metadata()
        stub = self._channel.unary_unary(path, type(request).SerializeToString, answer.FromString)
        call = partial(stub, request, timeout=attempts.seconds_left, metadata=metadata)
        try:
            response: MessageT = run_outside_main_thread(partial(self._unless_closed, call))
        except grpc.RpcError as error:
            raise self._error(error) from error
        return response

    def _error(self, error: grpc.RpcError, sent_bytes: int | None = None) -> PruningError:
        details = telling_details(error, self._target, self._security) if sent_bytes is None else None
        return from_status(error, self._name, sent_bytes, is_tls=self._security.is_tls, details=details)

    def _unless_closed(self, begin: Callable[..., Any], *requests: Any) -> Any:
        """Begin a call; on a closed channel gRPC raises ValueError, with a message of its own."""
        try:
            return begin(*requests)
        except ValueError as error:
            if self._is_closed:
                raise closed_error(self._name) from error
            raise
