"""What callers without a token can do: streams that hold memory, or a health check, as long as they are let.

Each opens `streams` streams at an address and keeps them open while inside.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import grpc

from pruning_proto.limits import MESSAGE_BYTES, MIB
from pruning_proto.names import GET_CAPABILITIES_PATH, PRUNE_PATH
from tests.service.http2 import unfinished_calls, windowless_call

CHECK: Final = "/grpc.health.v1.Health/Check"
WATCH: Final = "/grpc.health.v1.Health/Watch"
REFLECTION: Final = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

Strangers: TypeAlias = Callable[[str, int], AbstractContextManager[None]]

_CHANNELS = 4
"""Connections that share the streams."""


def _streams(path: str, message: bytes, *, finishes: bool) -> Strangers:
    """Return strangers that send one message on each stream, and half-close or not."""

    @contextmanager
    def open_streams(address: str, streams: int) -> Iterator[None]:
        over = threading.Event()

        def requests() -> Iterator[bytes]:
            yield message
            if not finishes:
                over.wait(60)

        with ExitStack() as stack:
            options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
            channels: list[Any] = [
                stack.enter_context(grpc.insecure_channel(address, options)) for _ in range(_CHANNELS)
            ]
            calls = [
                channels[number % _CHANNELS].stream_stream(path)(requests(), timeout=60) for number in range(streams)
            ]
            try:
                yield
            finally:
                over.set()
                for call in calls:
                    call.cancel()

    return open_streams


def _unfinished(path: str) -> Strangers:
    """Return strangers whose one message has almost 4 MiB, and whose last byte never comes."""
    return lambda address, streams: unfinished_calls(address, [path] * streams, bytes(MESSAGE_BYTES - 64), 0)


@contextmanager
def _watchers(address: str, streams: int) -> Iterator[None]:
    """Watch health and take nothing."""
    with ExitStack() as stack:
        for _ in range(streams):
            stack.enter_context(windowless_call(address, WATCH, b""))
        yield


@contextmanager
def _silent(address: str, streams: int) -> Iterator[None]:
    """Connect and say nothing."""
    host, _, port = address.rpartition(":")
    with ExitStack() as stack:
        for _ in range(streams):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
        yield


STRANGERS: Final[Mapping[str, Strangers]] = MappingProxyType(
    {
        "overlong health messages": _streams(CHECK, b"\x0a" + bytes(MESSAGE_BYTES - 64), finishes=True),
        "overlong messages that watch": _streams(WATCH, b"\x0a" + bytes(MESSAGE_BYTES - 64), finishes=True),
        "unary messages without an end": _unfinished(GET_CAPABILITIES_PATH),
        "health messages without an end": _unfinished(CHECK),
        "models without a token": _streams(PRUNE_PATH, b"\x7a" + bytes(2 * MIB), finishes=False),
        "questions of reflection": _streams(REFLECTION, bytes(2 * MIB), finishes=False),
        "watchers that do not read": _watchers,
        "connections that say nothing": _silent,
    }
)
