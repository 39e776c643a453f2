"""Calls as they are counted: all four kinds of RPC, however they end, on a real server with the real interceptor."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from pruning_service.observability.metrics import Metrics
from pruning_service.observability.rpc_metrics import MetricsInterceptor

SERVICE = "tests.Four"
KINDS = {
    "unary": grpc.unary_unary_rpc_method_handler,
    "server_stream": grpc.unary_stream_rpc_method_handler,
    "client_stream": grpc.stream_unary_rpc_method_handler,
    "bidi_stream": grpc.stream_stream_rpc_method_handler,
}
kinds = pytest.mark.parametrize("kind", KINDS)
STREAMS_RESPONSES = ("server_stream", "bidi_stream")
STREAMS_REQUESTS = ("client_stream", "bidi_stream")


async def end(word: bytes, context: Any) -> None:
    """End as a client asks for."""
    match word:
        case b"abort":
            await context.abort(StatusCode.NOT_FOUND)
        case b"fail":
            raise RuntimeError("a handler's own fault")
        case b"fail with a code":
            context.set_code(StatusCode.DATA_LOSS)
            raise RuntimeError("a handler's own fault")
        case b"set a code":
            context.set_code(StatusCode.OUT_OF_RANGE)
        case b"hang":
            await asyncio.Event().wait()
        case b"flood":
            for _ in range(1000):
                await context.write(bytes(1 << 20))
        case b"hang with a code":
            context.set_code(StatusCode.OUT_OF_RANGE)
            await asyncio.Event().wait()


async def unary(request: bytes, context: Any) -> bytes:
    await end(request, context)
    return b"answer"


async def server_stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
    yield b"first"
    await end(request, context)
    yield b"second"


async def client_stream(requests: AsyncIterator[bytes], context: Any) -> bytes:
    async for request in requests:
        await end(request, context)
    return b"answer"


async def bidi_stream(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield b"echo"
        await end(request, context)


async def server_stream_written(request: bytes, context: Any) -> None:
    await context.write(b"first")
    await end(request, context)
    await context.write(b"second")


async def client_stream_read(_: object, context: Any) -> bytes:
    while (request := await context.read()) is not grpc.aio.EOF:
        await end(request, context)
    return b"answer"


async def bidi_stream_read_and_written(_: object, context: Any) -> None:
    while (request := await context.read()) is not grpc.aio.EOF:
        await context.write(b"echo")
        await end(request, context)


GENERATORS = {
    "unary": unary,
    "server_stream": server_stream,
    "client_stream": client_stream,
    "bidi_stream": bidi_stream,
}
BY_HAND = {
    "unary": unary,
    "server_stream": server_stream_written,
    "client_stream": client_stream_read,
    "bidi_stream": bidi_stream_read_and_written,
}
styles = pytest.mark.parametrize("style", [GENERATORS, BY_HAND], ids=["generators", "by hand"])

Calling = Callable[[grpc.aio.Channel, "Counted"], Awaitable[None]]


def requests_of(kind: str, word: bytes) -> Any:
    """Return what a client sends: `word` last, after one message where there can be more."""
    return iter([b"go on", word]) if kind in STREAMS_REQUESTS else word


async def sent(channel: grpc.aio.Channel, kind: str, word: bytes, timeout: float | None = None) -> StatusCode:
    """Make a call to its end; give its status as the client sees it."""
    call = begun(channel, kind, word, timeout)
    try:
        if kind in STREAMS_RESPONSES:
            async for _ in call:
                pass
        else:
            await call
    except grpc.RpcError:
        pass
    code = await call.code()
    assert isinstance(code, StatusCode)
    return code


def begun(channel: grpc.aio.Channel, kind: str, word: bytes, timeout: float | None = None) -> Any:
    makers: dict[str, Any] = {
        "unary": channel.unary_unary,
        "server_stream": channel.unary_stream,
        "client_stream": channel.stream_unary,
        "bidi_stream": channel.stream_stream,
    }
    return makers[kind](f"/{SERVICE}/{kind}")(requests_of(kind, word), timeout=timeout)


class Counted:
    """The counts of one kind of RPC."""

    def __init__(self, metrics: Metrics, kind: str) -> None:
        self._metrics = metrics
        self._labels = {"grpc_type": kind, "grpc_service": SERVICE, "grpc_method": kind}

    def count(self, name: str, **labels: str) -> float | None:
        return self._metrics.registry.get_sample_value(name, self._labels | labels)

    @property
    def codes(self) -> dict[str, float]:
        """The codes that calls ended with, and how many."""
        (family,) = (family for family in self._metrics.registry.collect() if family.name == "grpc_server_handled")
        return {
            sample.labels["grpc_code"]: sample.value
            for sample in family.samples
            if sample.value and sample.labels["grpc_method"] == self._labels["grpc_method"]
        }

    @property
    def messages(self) -> tuple[float | None, float | None]:
        """How many came, and how many went."""
        return self.count("grpc_server_msg_received_total"), self.count("grpc_server_msg_sent_total")

    @property
    def has_begun(self) -> bool:
        return self.count("grpc_server_started_total") == 1

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.01)

    @property
    def has_ended(self) -> bool:
        return bool(self.codes) and self.count("grpc_server_started_total") == sum(self.codes.values())


def count(kind: str, style: dict[str, Any], calling: Calling) -> Counted:
    """Return the counts after `calling`, once the server is through with it."""
    metrics = Metrics("0", "cpu", "numpy")

    async def main() -> Counted:
        server = grpc.aio.server(interceptors=(MetricsInterceptor(metrics),))
        handlers: dict[str, Any] = {name: make(style[name]) for name, make in KINDS.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        counted = Counted(metrics, kind)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await calling(channel, counted)
            await counted.until(lambda: counted.has_ended)
        await server.stop(None)
        return counted

    return asyncio.run(main())


@kinds
@styles
@pytest.mark.parametrize(
    ("word", "code", "name"),
    [
        (b"be fine", StatusCode.OK, "OK"),
        (b"abort", StatusCode.NOT_FOUND, "NotFound"),
        (b"set a code", StatusCode.OUT_OF_RANGE, "OutOfRange"),
        (b"fail", StatusCode.UNKNOWN, "Unknown"),
        (b"fail with a code", StatusCode.DATA_LOSS, "DataLoss"),
    ],
)
def test_call_is_counted_once_under_the_status_that_its_client_sees(
    kind: str, style: dict[str, Any], word: bytes, code: StatusCode, name: str
) -> None:
    async def calling(channel: grpc.aio.Channel, counted: Counted) -> None:
        assert await sent(channel, kind, word) is code

    counted = count(kind, style, calling)
    assert counted.count("grpc_server_started_total") == 1
    assert counted.codes == {name: 1}
    assert counted.count("grpc_server_handling_seconds_count") == 1


@styles
@pytest.mark.parametrize(
    ("kind", "messages"),
    [("unary", (1, 1)), ("server_stream", (1, 2)), ("client_stream", (2, 1)), ("bidi_stream", (2, 2))],
)
def test_messages_of_a_call_are_counted(kind: str, style: dict[str, Any], messages: tuple[int, int]) -> None:
    async def calling(channel: grpc.aio.Channel, counted: Counted) -> None:
        await sent(channel, kind, b"be fine")

    assert count(kind, style, calling).messages == messages


@styles
@pytest.mark.parametrize(
    ("kind", "messages"),
    [("unary", (1, 0)), ("server_stream", (1, 1)), ("client_stream", (2, 0)), ("bidi_stream", (2, 2))],
)
def test_messages_of_a_call_that_fails_are_those_that_were_there(
    kind: str, style: dict[str, Any], messages: tuple[int, int]
) -> None:
    async def calling(channel: grpc.aio.Channel, counted: Counted) -> None:
        await sent(channel, kind, b"abort")

    assert count(kind, style, calling).messages == messages


@kinds
@styles
@pytest.mark.parametrize("word", [b"hang", b"hang with a code"])
def test_call_that_its_client_gives_up_is_canceled(kind: str, style: dict[str, Any], word: bytes) -> None:
    async def calling(channel: grpc.aio.Channel, counted: Counted) -> None:
        call = begun(channel, kind, word, timeout=60)
        await counted.until(lambda: counted.has_begun)
        call.cancel()

    assert count(kind, style, calling).codes == {"Canceled": 1}


@styles
def test_call_whose_client_goes_in_the_middle_of_a_write_is_canceled(style: dict[str, Any]) -> None:
    async def calling(channel: grpc.aio.Channel, counted: Counted) -> None:
        call = begun(channel, "bidi_stream", b"flood")
        await counted.until(lambda: counted.has_begun)
        await asyncio.sleep(0.2)  # by now the server waits for a client that does not read
        call.cancel()

    assert count("bidi_stream", style, calling).codes == {"Canceled": 1}


@kinds
@styles
def test_call_that_outlasts_its_deadline_is_counted_as_that(kind: str, style: dict[str, Any]) -> None:
    async def calling(channel: grpc.aio.Channel, counted: Counted) -> None:
        assert await sent(channel, kind, b"hang", timeout=1) is StatusCode.DEADLINE_EXCEEDED

    counted = count(kind, style, calling)
    assert counted.codes == {"DeadlineExceeded": 1}
    seconds = counted.count("grpc_server_handling_seconds_sum")
    assert seconds is not None
    assert seconds > 0.1


@kinds
def test_calls_add_up(kind: str) -> None:
    async def calling(channel: grpc.aio.Channel, counted: Counted) -> None:
        await asyncio.gather(*(sent(channel, kind, word) for word in [b"be fine", b"be fine", b"abort"]))

    assert count(kind, GENERATORS, calling).codes == {"OK": 2, "NotFound": 1}


def test_method_that_there_is_not_leaves_no_trace() -> None:
    metrics = Metrics("0", "cpu", "numpy")

    async def main() -> None:
        server = grpc.aio.server(interceptors=(MetricsInterceptor(metrics),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert await sent(channel, "unary", b"") is StatusCode.UNIMPLEMENTED
        await server.stop(None)

    asyncio.run(main())
    assert SERVICE not in str(list(metrics.registry.collect()))
