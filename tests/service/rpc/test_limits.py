"""Limits of a server: calls, streams of a connection, tensors, bytes of a message; and that it reports them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2

from pruning_client import Client, rules
from pruning_client.errors import CapacityError
from pruning_proto import limits
from pruning_proto.names import PRUNE_PATH
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.tiny_files import weight, written
from tests.servers import ServerProcess, running_server
from tests.service.raw import Outcome, call, f32, file, l1, options, prune, wait_until
from tests.service.secured import capabilities_on, health_of, open_call
from tests.service.test_server import capabilities, samples

SERVING = health_pb2.HealthCheckResponse.SERVING
WEIGHT = ("F32", [2, 2], f32(4, -1, 3, -2))
CONTENT = file({"a.weight": WEIGHT})
HALF = rules.l1_unstructured(0.5)


@pytest.fixture(scope="module")
def small() -> Iterator[ServerProcess]:
    """A server that takes three calls at once, two on a connection, and files of two tensors."""
    with running_server(max_calls="3", max_streams_per_connection="2", max_tensors="2") as server:
        yield server


@contextmanager
def calls_under_way(server: ServerProcess, number: int) -> Iterator[None]:
    """Keep `number` Prune calls under way, each on its own connection."""
    assert wait_until(lambda: samples(server)["pruning_requests_in_flight", ()] == 0)
    with ExitStack() as calls:
        for _ in range(number):
            channel = grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)])
            calls.enter_context(channel)
            calls.enter_context(open_call(channel, options(CONTENT)))
        yield


def retry_info(outcome: Outcome) -> error_details_pb2.RetryInfo:
    found = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(found) for detail in outcome.status.details)
    return found


def test_call_above_the_most_is_refused_for_now(small: ServerProcess) -> None:
    with calls_under_way(small, 3):
        outcome = prune(small.address, CONTENT)
    assert outcome.failure.reason == Reason.TOO_MANY_CALLS
    assert outcome.failure.metadata["max_calls"] == "3"
    assert outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry_info(outcome).retry_delay.seconds == 1


@pytest.mark.parametrize(
    "first",
    [None, b"\xff" * 100, b"\xff" * (limits.MESSAGE_BYTES - 64)],
    ids=["no message", "no protobuf", "4 MiB of it"],
)
def test_call_above_the_most_is_refused_before_its_message_is_decoded(
    small: ServerProcess, first: bytes | None
) -> None:
    answered = Event()

    def requests() -> Iterator[Any]:  # as bytes
        if first is not None:
            yield first
        answered.wait(60)

    with calls_under_way(small, 3), grpc.insecure_channel(small.address) as channel:
        responses = channel.stream_stream(PRUNE_PATH, None, pb.PruneResponse.FromString)(requests(), timeout=60)
        try:
            assert next(responses).failure.reason == Reason.TOO_MANY_CALLS
        finally:
            answered.set()
            responses.cancel()


def test_client_knows_when_to_try_again(small: ServerProcess, tmp_path: Path) -> None:
    with (
        calls_under_way(small, 3),
        Client(small.address, retries=0) as client,
        pytest.raises(CapacityError, match="PRUNING_MAX_CALLS") as caught,
    ):
        client.dry_run(written(tmp_path / "in.safetensors", weight(1, 2)), HALF)
    assert caught.value.retry_after is not None


def test_health_and_capabilities_do_not_count_as_calls(small: ServerProcess) -> None:
    with calls_under_way(small, 3):
        assert health_of(small.address) == SERVING
        assert capabilities(small.address).limits.calls == 3


def test_place_of_a_call_that_has_ended_is_free_again(small: ServerProcess) -> None:
    with calls_under_way(small, 3):
        assert prune(small.address, CONTENT).failure.reason == Reason.TOO_MANY_CALLS
    assert wait_until(lambda: prune(small.address, CONTENT).code is grpc.StatusCode.OK)


def test_call_above_the_most_of_a_connection_waits_for_one_to_end(small: ServerProcess) -> None:
    with grpc.insecure_channel(small.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        ask = capabilities_on(channel)
        with open_call(channel, options(CONTENT)):
            with open_call(channel, options(CONTENT)):
                waiting = ask.future(b"", timeout=60)
                assert capabilities(small.address).limits.streams_per_connection == 2  # others are served meanwhile
                assert not waiting.done()
            assert waiting.result()


def test_file_of_too_many_tensors_is_refused(small: ServerProcess) -> None:
    outcome = prune(small.address, file({f"{name}.weight": WEIGHT for name in "abc"}))
    assert outcome.failure.reason == Reason.TOO_MANY_TENSORS
    assert "more than 2 tensors" in outcome.failure.message
    assert outcome.code is grpc.StatusCode.INVALID_ARGUMENT


def test_file_of_as_many_tensors_as_are_read_is_pruned(small: ServerProcess) -> None:
    assert prune(small.address, file({f"{name}.weight": WEIGHT for name in "ab"})).code is grpc.StatusCode.OK


def test_message_above_the_most_bytes_is_refused_unread(server: ServerProcess) -> None:
    outcome = call(server.address, [options(CONTENT), pb.PruneRequest(data=bytes(limits.MESSAGE_BYTES + 1))])
    assert outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_capabilities_tell_the_limits(small: ServerProcess) -> None:
    with Client(small.address) as client:
        told = client.capabilities().limits
    assert (told.tensors, told.streams_per_connection, told.calls) == (2, 2, 3)
    assert told.message_bytes == limits.MESSAGE_BYTES
    assert (told.patterns, told.regular_expressions, told.aliases) == (1000, 100, 10_000)
    assert (told.pattern_bytes, told.options_bytes) == (limits.PATTERN_BYTES, limits.OPTIONS_BYTES)


@pytest.mark.parametrize(
    "select",
    [
        pytest.param(pb.Selector(exclude=["a" * 1000] * 1000), id="1 MB of names"),
        pytest.param(pb.Selector(exclude=[f"re:{number}" for number in range(100)]), id="100 regular expressions"),
    ],
)
def test_what_options_take_is_reserved_before_it_is_planned(select: pb.Selector) -> None:
    with running_server(memory_bytes=str(64 * limits.MIB)) as server:
        outcome = prune(server.address, CONTENT, rules=[l1(0.5, select=select)])
        assert outcome.failure.reason == Reason.MODEL_TOO_LARGE
        few = pb.Selector(exclude=select.exclude[:8])
        planned = prune(server.address, CONTENT, rules=[l1(0.5, select=few)])
        assert planned.failure.reason == Reason.SELECTS_NOTHING
        assert wait_until(lambda: samples(server)["pruning_reserved_bytes", ()] == 0)


def test_malformed_options_are_reserved_for_before_they_are_parsed() -> None:
    malformed = b"\n\xff" + bytes(1 << 20)
    with running_server(memory_bytes=str(64 * limits.MIB)) as server, grpc.insecure_channel(server.address) as channel:
        prune: Any = channel.stream_stream(PRUNE_PATH, None, pb.PruneResponse.FromString)
        first = next(prune(iter([malformed]), timeout=20))
    assert first.failure.reason == Reason.MODEL_TOO_LARGE
