"""The connection of an `AsyncClient`: a channel of grpc.aio, and each attempt of a call over it."""

from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from pruning_client.calls.exchange import Exchange, Watcher
from pruning_client.calls.outcome import Outcome
from pruning_client.errors import PruningError, closed_error
from pruning_client.errors.from_server import from_status, late_error
from pruning_client.transport.address_by_address import may_tell_more, telling_details
from pruning_client.transport.addresses import Target, name_of
from pruning_client.transport.aio_stream import converse, is_long
from pruning_client.transport.channel import open_aio_channel
from pruning_client.transport.credentials import Metadata, Security
from pruning_client.transport.retry import Attempts
from pruning_client.transport.sync_stream import StalledError, Write
from pruning_client.transport.threads import in_thread
from pruning_proto.framing import decode_response
from pruning_proto.names import GET_CAPABILITIES_PATH, PRUNE_PATH
from pruning_proto.v1 import pruning_pb2 as pb

MessageT = TypeVar("MessageT", bound=Message)


class GrpcAioConnection:
    """A channel to a server, for the event loop that runs now. Raises: as `open_channel`."""

    def __init__(self, target: Target, security: Security) -> None:
        self._name = name_of(target)
        self._target = target
        self._security = security
        self._is_closed = False
        self._channel = open_aio_channel(target, security)
        self._takes_whole = True  # until a server says otherwise
        self._prune: Any = self._channel.stream_stream(PRUNE_PATH, None, decode_response)
        self._prune_whole: Any = self._channel.unary_stream(PRUNE_PATH, None, decode_response)  # the same on the wire
        self._get_capabilities = self._channel.unary_unary(
            GET_CAPABILITIES_PATH,
            pb.GetCapabilitiesRequest.SerializeToString,
            pb.GetCapabilitiesResponse.FromString,
        )

    async def close(self) -> None:
        """Close the channel; running calls are cancelled."""
        self._is_closed = True
        await self._channel.close()

    async def prune(self, exchange: Exchange, write: Write, watcher: Watcher | None, attempts: Attempts) -> Outcome:
        """Carry out one attempt of Prune. Raises: PruningError; whatever `write`, the source or `watcher` raise."""
        metadata = await self._metadata()  # the time that it takes counts as the call's
        is_whole = self._takes_whole and exchange.fits_in_one_message
        stub = partial(self._prune_whole, await in_thread(exchange.whole)) if is_whole else self._prune
        begin = partial(stub, timeout=attempts.deadline, metadata=metadata)
        try:
            await converse(begin, exchange, write, attempts.noting(watcher), attempts, is_whole=is_whole)
        except StalledError as error:
            raise late_error(self._name, exchange.sent_bytes if exchange.is_answered else None) from error
        except grpc.aio.AioRpcError as error:
            raise await self._error(error, exchange.sent_bytes if exchange.is_answered else None) from error
        if is_whole and exchange.is_not_taken_whole:
            self._takes_whole = False
            exchange.begin_again()
            return await self.prune(exchange, write, watcher, attempts)
        return await in_thread(exchange.finish) if is_long(exchange) else exchange.finish()

    async def capabilities(self, attempts: Attempts) -> pb.GetCapabilitiesResponse:
        """Carry out one attempt of GetCapabilities. Raises: PruningError."""
        metadata = await self._metadata()  # the time that it takes counts as the call's
        request = pb.GetCapabilitiesRequest()
        try:
            return await self._get_capabilities(request, timeout=attempts.seconds_left, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise await self._error(error) from error

    async def ask(self, path: str, request: Message, answer: type[MessageT], attempts: Attempts) -> MessageT:
        """Carry out one attempt of a call with one message each way. Raises: PruningError."""
        metadata = await self._metadata()
        stub: Any = self._channel.unary_unary(path, type(request).SerializeToString, answer.FromString)
        try:
            response: MessageT = await stub(request, timeout=attempts.seconds_left, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise await self._error(error) from error
        return response

    async def _error(self, error: grpc.aio.AioRpcError, sent_bytes: int | None = None) -> PruningError:
        look = partial(telling_details, error, self._target, self._security)
        details = await in_thread(look) if sent_bytes is None and may_tell_more(error) else None
        return from_status(error, self._name, sent_bytes, is_tls=self._security.is_tls, details=details)

    async def _metadata(self) -> Metadata:
        """Return the metadata of an attempt. Raises: UnavailableError if this was closed meanwhile."""
        metadata = await in_thread(self._security.metadata) if self._security.may_block else self._security.metadata()
        if self._is_closed:  # gRPC would raise something of its own
            raise closed_error(self._name)
        return metadata
