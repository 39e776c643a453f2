"""Health under callers who want to block it: watchers that do not read, calls that never end, overlong messages."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pruning_proto.limits import MIB
from pruning_service.observability.serving_status import REQUEST_BYTES
from pruning_service.rpc.first_message import FirstMessageLimits
from pruning_service.rpc.reading_turns import READING_CALLS
from tests.campaigns.observed import anonymous_bytes
from tests.servers import ServerProcess, running_server
from tests.service.http2 import windowless_call
from tests.service.raw import wait_until
from tests.service.secured import health_of

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
SERVING = health_pb2.HealthCheckResponse.SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
PORTS = pytest.mark.parametrize("port", ["address", "health_address"], ids=["main port", "health port"])


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with running_server("--health-listen", "127.0.0.1:0", drain_seconds="1") as server:
        yield server


def code_of_check(address: str, raw: bytes) -> grpc.StatusCode:
    with grpc.insecure_channel(address) as channel:
        check: Any = channel.unary_unary(CHECK)
        with pytest.raises(grpc.RpcError) as caught:
            check(raw, timeout=20)
    code: grpc.StatusCode = caught.value.code()
    return code


def never(over: Event) -> Iterator[bytes]:
    """Send nothing, and do not half-close."""
    over.wait(60)
    yield from ()


@PORTS
def test_watchers_that_do_not_read_block_nobody_and_no_shutdown(server: ServerProcess, port: str) -> None:
    address = getattr(server, port)
    with ExitStack() as calls:
        for _ in range(20):
            calls.enter_context(windowless_call(address, WATCH, b""))
        assert health_of(address) == health_of(server.address) == health_of(server.health_address) == SERVING
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


@PORTS
def test_watchers_above_the_most_are_refused_and_probes_answered(server: ServerProcess, port: str) -> None:
    address = getattr(server, port)
    with ExitStack() as channels:
        watches: list[Any] = []
        for _ in range(40):
            channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
            channels.enter_context(channel)
            stub = health_pb2_grpc.HealthStub(channel)
            watches += [stub.Watch(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(10)]
        refused = [code for watch in watches if (code := first(watch)) is grpc.StatusCode.RESOURCE_EXHAUSTED]
        assert 0 < len(refused) < len(watches)
        assert health_of(address) == SERVING
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


def first(watch: Any) -> Any:
    """Return the first status of a call that watches, or the code that it ends with."""
    try:
        return next(watch).status
    except grpc.RpcError as error:
        return error.code()


@PORTS
def test_calls_that_never_send_their_message_do_not_crowd_out_probes(server: ServerProcess, port: str) -> None:
    address, over = getattr(server, port), Event()
    with ExitStack() as channels:
        calls: list[Any] = []
        for _ in range(20):
            channel: Any = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
            channels.enter_context(channel)
            calls += [channel.stream_unary(CHECK).future(never(over), timeout=60) for _ in range(10)]
        assert [health_of(address) for _ in range(3)] == [SERVING] * 3
        assert wait_until(lambda: all(call.done() for call in calls))
        over.set()
    assert {call.code() for call in calls} <= {
        *(grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN),
        grpc.StatusCode.UNAVAILABLE,
    }


@PORTS
def test_unknown_services_are_not_found(server: ServerProcess, port: str) -> None:
    address = getattr(server, port)
    asked = health_pb2.HealthCheckRequest(service="another.Service")
    assert code_of_check(address, asked.SerializeToString()) is grpc.StatusCode.NOT_FOUND
    with grpc.insecure_channel(address) as channel:
        assert first(health_pb2_grpc.HealthStub(channel).Watch(asked, timeout=20)) == SERVICE_UNKNOWN


@pytest.mark.parametrize(
    ("port", "raw", "code"),
    [
        ("address", b"\n\x80\x02" + bytes(REQUEST_BYTES), grpc.StatusCode.INVALID_ARGUMENT),
        ("address", b"\x10\1" * 1_000_000, grpc.StatusCode.INVALID_ARGUMENT),
        ("address", b"\xff", grpc.StatusCode.INVALID_ARGUMENT),
        ("health_address", b"\x10\1" * 1_000_000, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("health_address", b"\xff", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_overlong_and_malformed_requests_are_refused_unparsed(
    server: ServerProcess, port: str, raw: bytes, code: grpc.StatusCode
) -> None:
    before = len(server.log)
    assert code_of_check(getattr(server, port), raw) is code
    assert not [line for line in server.log[before:] if "Traceback" in line or "rror" in line]
    assert health_of(getattr(server, port)) == SERVING


def test_message_that_does_not_come_ends_its_call() -> None:
    async def codes() -> list[Any]:
        server = grpc.aio.server(interceptors=(FirstMessageLimits("open.Service", 0.2),))
        handlers: dict[str, Any] = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("x", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as connected:
            channel: Any = connected
            unfinished, empty = channel.stream_unary("/x/Echo")(), channel.stream_unary("/x/Echo")()
            await empty.done_writing()
            answers = [await channel.unary_unary("/x/Echo")(b"text"), await unfinished.code(), await empty.code()]
        await server.stop(None)
        return answers

    async def echo(message: bytes, _: Any) -> bytes:
        return message

    assert asyncio.run(codes()) == [b"text", grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INVALID_ARGUMENT]


def test_call_that_waits_longest_makes_way_for_others() -> None:
    over = Event()
    with running_server() as server, ExitStack() as channels:
        calls: list[Any] = []
        for _ in range(READING_CALLS + 3):
            channel: Any = channels.enter_context(grpc.insecure_channel(server.address))
            calls.append(channel.stream_unary(CHECK).future(never(over), timeout=60))
        ended = [call for call in calls if wait_until(call.done, 2)]
        assert {call.code() for call in ended} == {grpc.StatusCode.UNAVAILABLE}
        assert len(ended) >= 3
        assert health_of(server.address) == SERVING
        over.set()


def test_new_service_names_are_not_remembered(server: ServerProcess) -> None:
    before = anonymous_bytes(server.process.pid)
    for address in (server.address, server.health_address):
        with grpc.insecure_channel(address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch
            for number in range(500):
                asked = health_pb2.HealthCheckRequest(service=f"{number:0200}")
                call: Any = watch(asked, timeout=20)
                assert first(call) in (SERVICE_UNKNOWN, grpc.StatusCode.RESOURCE_EXHAUSTED)
                call.cancel()
    assert anonymous_bytes(server.process.pid) < before + 16 * MIB


@pytest.mark.parametrize("raw", [b"\xff", b"\n\xff\xff\x03" + bytes(65535)], ids=["malformed", "overlong"])
def test_reflection_of_what_it_is_not_leaves_the_log_alone(server: ServerProcess, raw: bytes) -> None:
    before = len(server.log)
    with grpc.insecure_channel(server.address) as channel:
        reflect: Any = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as caught:
                list(reflect(iter([raw]), timeout=20))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert health_of(server.address) == SERVING
    assert server.log[before:] == []
