"""Calls that are tried again, by both clients, against real servers that fail at first."""

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration

from pruning_client import Client, rules
from pruning_client.calls.exchange import Progress
from pruning_client.errors import CapacityError, PruningError, UnavailableError
from pruning_proto.limits import CHUNK_BYTES, MIB
from pruning_proto.reasons import TABLE, Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.both import BOTH, Connect
from tests.client.scripted import Script, data, echo, plan, scripted_server
from tests.client.tiny_files import checkpoint, weight, written
from tests.servers import ServerProcess, running_server

pytestmark = BOTH

HALF = rules.l1_unstructured(0.5)
MODEL = {f"{layer}.weight": np.arange(4 * MIB, dtype=np.float32).reshape(MIB, 4) for layer in range(3)}
LARGE_BYTES = 8 * CHUNK_BYTES
Requests = Iterator[pb.PruneRequest]
Responses = Iterator[pb.PruneResponse]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return written(tmp_path / "small", weight(1, -4, 3, -2))


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return written(tmp_path / "large", checkpoint({"x": ("U8", (LARGE_BYTES,), bytes(LARGE_BYTES))}))


def refused(reason: Reason, retry_seconds: float | None = None) -> pb.PruneResponse:
    """A refusal sent in the stream, under its own code."""
    failure = pb.Failure(code=TABLE[reason].code, reason=reason, message=f"no: {reason}")
    if retry_seconds is not None:
        failure.retry_after.CopyFrom(Duration(seconds=int(retry_seconds), nanos=int(retry_seconds % 1 * 1e9)))
    return pb.PruneResponse(failure=failure)


def failing_first(fail: Script, times: int = 1) -> tuple[Script, Callable[[], int]]:
    """A script that fails so many times and is sound then; and what counts its calls."""
    calls = count(1)
    made = 0

    def script(requests: Requests, context: grpc.ServicerContext) -> Responses:
        nonlocal made
        made = next(calls)
        yield from fail(requests, context) if made <= times else echo(requests, context)

    return script, lambda: made


def break_off(requests: Requests, context: grpc.ServicerContext) -> Responses:
    """Answer with half of the result, and be gone."""
    yield plan(next(requests).options.total_bytes)
    for _ in range(4):
        yield data(next(requests).data)
    context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


def say(response: pb.PruneResponse) -> Script:
    """A script that gives one answer and ends well."""

    def script(requests: Requests, context: grpc.ServicerContext) -> Responses:
        yield response
        for _ in requests:
            pass

    return script


def abort(code: grpc.StatusCode) -> Script:
    """A script that ends with a status, as a proxy does."""

    def script(requests: Requests, context: grpc.ServicerContext) -> Responses:
        next(requests)
        context.abort(code, "upstream")
        yield from ()

    return script


def test_call_that_broke_off_begins_anew(large: Path, tmp_path: Path, connect: Connect) -> None:
    script, calls = failing_first(break_off)
    with scripted_server(script) as address, connect(address) as client:
        client.prune_file(large, tmp_path / "out", HALF)
    assert calls() == 2
    assert (tmp_path / "out").read_bytes() == large.read_bytes()
    assert sorted(tmp_path.iterdir()) == [large, tmp_path / "out"]


def test_result_in_memory_begins_anew(large: Path, tmp_path: Path, connect: Connect) -> None:
    script, _ = failing_first(break_off)
    with scripted_server(script) as address, connect(address) as client:
        client.prune(large, HALF).save(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == large.read_bytes()


def test_progress_says_which_attempt_it_is(large: Path, connect: Connect) -> None:
    reported: list[Progress] = []
    script, _ = failing_first(break_off)
    with scripted_server(script) as address, connect(address) as client:
        client.prune(large, HALF, progress=reported.append)
    assert sorted({progress.attempt for progress in reported}) == [1, 2]
    assert reported[-1].received_bytes == large.stat().st_size


@pytest.mark.parametrize(
    "fail",
    [
        pytest.param(say(refused(Reason.NO_ROOM, 0.01)), id="no room now"),
        pytest.param(say(refused(Reason.SHUTTING_DOWN)), id="shuts down"),
        pytest.param(abort(grpc.StatusCode.UNAVAILABLE), id="UNAVAILABLE"),
        pytest.param(abort(grpc.StatusCode.INTERNAL), id="INTERNAL of a proxy"),
        pytest.param(abort(grpc.StatusCode.UNKNOWN), id="UNKNOWN of a proxy"),
        pytest.param(abort(grpc.StatusCode.CANCELLED), id="CANCELLED of a proxy"),
    ],
)
def test_what_may_pass_is_tried_again(small: Path, fail: Script, connect: Connect) -> None:
    script, calls = failing_first(fail)
    with scripted_server(script) as address, connect(address) as client:
        client.prune(small, HALF)
    assert calls() == 2


@pytest.mark.parametrize(
    "fail",
    [
        pytest.param(say(refused(Reason.SELECTS_NOTHING)), id="a refusal"),
        pytest.param(say(refused(Reason.MODEL_TOO_LARGE)), id="too large for ever"),
        pytest.param(say(refused(Reason.INTERNAL)), id="the server's own fault"),
        pytest.param(say(refused(Reason.CLIENT_IDLE)), id="the caller's fault"),
        pytest.param(say(plan()), id="a server that breaks the contract"),
        pytest.param(abort(grpc.StatusCode.UNIMPLEMENTED), id="UNIMPLEMENTED"),
        pytest.param(abort(grpc.StatusCode.UNAUTHENTICATED), id="UNAUTHENTICATED"),
        pytest.param(abort(grpc.StatusCode.RESOURCE_EXHAUSTED), id="message size"),
        pytest.param(abort(grpc.StatusCode.DEADLINE_EXCEEDED), id="DEADLINE_EXCEEDED"),
    ],
)
def test_what_stays_is_not_tried_again(small: Path, fail: Script, connect: Connect) -> None:
    script, calls = failing_first(fail)
    with scripted_server(script) as address, connect(address) as client, pytest.raises(PruningError) as caught:
        client.prune(small, HALF)
    assert (calls(), caught.value.attempts) == (1, 1)


def test_error_says_how_many_attempts_were_made(small: Path, connect: Connect) -> None:
    script, calls = failing_first(abort(grpc.StatusCode.UNAVAILABLE), times=9)
    with (
        scripted_server(script) as address,
        connect(address, retries=1) as client,
        pytest.raises(UnavailableError, match="tried 2 times") as caught,
    ):
        client.prune(small, HALF)
    assert (calls(), caught.value.attempts) == (2, 2)


def test_wait_that_would_pass_the_deadline_is_not_begun(small: Path, connect: Connect) -> None:
    script, calls = failing_first(say(refused(Reason.NO_ROOM, 6000)))
    with (
        scripted_server(script) as address,
        connect(address) as client,
        pytest.raises(CapacityError, match="NO_ROOM") as caught,
    ):
        client.prune(small, HALF, timeout=3000)  # a wait of either length would outlast this test
    assert (calls(), caught.value.reason) == (1, "NO_ROOM")


def test_deadline_is_one_for_all_attempts(small: Path, connect: Connect) -> None:
    left: list[float] = []

    def note(requests: Requests, context: grpc.ServicerContext) -> Responses:
        left.append(context.time_remaining())
        yield refused(Reason.NO_ROOM, 0.5)

    with scripted_server(note) as address, connect(address, retries=1) as client, pytest.raises(CapacityError):
        client.prune(small, HALF, timeout=9)
    assert left[1] < left[0] - 0.4  # gRPC rounds what it sends: from 10 s on, to seconds


def test_seed_is_the_same_in_all_attempts(small: Path, connect: Connect) -> None:
    seeds: list[int] = []

    def note(requests: Requests, context: grpc.ServicerContext) -> Responses:
        seeds.append(next(requests).options.recipe.seed)
        context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        yield from ()

    with scripted_server(note) as address, connect(address, retries=1) as client, pytest.raises(UnavailableError):
        client.prune(small, rules.random_unstructured(0.5))
    assert len(seeds) == 2
    assert seeds[0] == seeds[1]


def test_file_that_changed_between_attempts_is_refused(small: Path, connect: Connect) -> None:
    def change(requests: Requests, context: grpc.ServicerContext) -> Responses:
        for _ in requests:
            pass
        small.write_bytes(weight(5, 6, 7, 8))
        context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        yield from ()

    script, _ = failing_first(change)
    with scripted_server(script) as address, connect(address) as client, pytest.raises(PruningError, match="changed"):
        client.prune(small, HALF)


def test_capabilities_are_asked_again(connect: Connect) -> None:
    def none(requests: Requests, context: grpc.ServicerContext) -> Responses:
        yield from ()

    calls = count(1)

    def capabilities(_: pb.GetCapabilitiesRequest, context: grpc.ServicerContext) -> pb.GetCapabilitiesResponse:
        if next(calls) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        return pb.GetCapabilitiesResponse(version="9")

    with scripted_server(none, capabilities) as address, connect(address) as client:
        assert client.capabilities().version == "9"


@pytest.fixture(scope="module")
def crowded_server(server: ServerProcess) -> Iterator[ServerProcess]:
    """A server with room for `MODEL` once, and not twice."""
    with Client(server.address) as client:
        peak_bytes = client.plan(MODEL, HALF).peak_bytes
    with running_server(memory_bytes=str(peak_bytes * 3 // 2), queue_seconds="0.01") as crowded:
        yield crowded


def test_server_without_room_has_some_a_moment_later(crowded_server: ServerProcess, connect: Connect) -> None:
    may_end = threading.Event()
    attempts: list[int] = []

    def watch(progress: Progress) -> None:
        attempts.append(progress.attempt)
        may_end.set()

    with Client(crowded_server.address) as other, connect(crowded_server.address, retries=9) as client:
        hold = {"progress": lambda _: may_end.wait(20)}
        holding = threading.Thread(target=other.prune, args=(MODEL, HALF), kwargs=hold)
        holding.start()
        try:
            _wait_until(lambda: reserved_bytes(crowded_server) > 0)
            assert client.prune(MODEL, HALF, progress=watch).report.sparsity == 0.5
        finally:
            may_end.set()
            holding.join()
    assert attempts[-1] > 1


def test_call_whose_server_is_killed_is_finished_by_another(
    server: ServerProcess, connect: Connect, tmp_path: Path
) -> None:
    rule = rules.random_unstructured(0.5)
    with connect(server.address) as client:
        client.prune(MODEL, rule, seed=7).save(tmp_path / "expected")
    with running_server() as victim, connect([victim.address, server.address]) as client:
        killed: list[int] = []

        def kill(progress: Progress) -> None:
            if not killed and progress.received_bytes and reserved_bytes(victim):
                victim.process.kill()
                killed.append(progress.attempt)

        for _ in range(4):  # calls take turns: half of them begin at the victim
            client.prune(MODEL, rule, seed=7, progress=kill).save(tmp_path / "out")
    assert killed == [1]
    assert (tmp_path / "out").read_bytes() == (tmp_path / "expected").read_bytes()


def reserved_bytes(server: ServerProcess) -> float:
    """What the calls that run have reserved, by the server's own metrics."""
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("pruning_reserved_bytes "))


def _wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)
