"""The network of one call, against real servers that misbehave: the call always ends, and the caller learns why."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import status_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from pruning_client import rules
from pruning_client.calls.exchange import Progress
from pruning_client.errors import (
    AuthenticationError,
    CapacityError,
    DeadlineError,
    InternalError,
    MismatchError,
    ProtocolError,
    PruningError,
    UnavailableError,
    Violation,
)
from pruning_proto.limits import CHUNK_BYTES
from pruning_proto.names import REQUEST_ID_KEY
from pruning_proto.reasons import DOMAIN
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.both import BOTH, Connect
from tests.client.scripted import data, echo, failure, plan, report, scripted_server
from tests.client.tiny_files import checkpoint, weight, written

HALF = rules.l1_unstructured(0.5)
LARGE_BYTES = 8 * CHUNK_BYTES
pytestmark = BOTH
Requests = Iterator[pb.PruneRequest]
Responses = Iterator[pb.PruneResponse]


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that waits for its plan."""
    return written(tmp_path / "large", checkpoint({"x": ("U8", (LARGE_BYTES,), bytes(LARGE_BYTES))}))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return written(tmp_path / "small", weight(1, 2, 3, 4))


def test_what_comes_back_is_the_result(large: Path, tmp_path: Path, connect: Connect) -> None:
    with scripted_server(echo) as address, connect(address) as client:
        client.prune_file(large, tmp_path / "out", HALF)
    assert (tmp_path / "out").read_bytes() == large.read_bytes()


def test_refusal_costs_the_header_and_not_the_model(large: Path, tmp_path: Path, connect: Connect) -> None:
    received: list[int] = []

    def refuse(requests: Requests, _context: grpc.ServicerContext) -> Responses:
        received.extend(len(next(requests).data) for _ in ("options", "header"))
        time.sleep(0.2)  # long enough for a client that does not wait
        yield failure("SELECTS_NOTHING", "rule 0 selects nothing")
        received.extend(len(request.data) for request in requests)

    with scripted_server(refuse) as address, connect(address) as client, pytest.raises(MismatchError):
        client.prune_file(large, tmp_path / "out", HALF)
    assert sum(received) < 1000
    assert list(tmp_path.iterdir()) == [large]


def test_failure_while_the_model_is_sent_stops_the_sending(large: Path, connect: Connect) -> None:
    received: list[int] = []

    def fail(requests: Requests, context: grpc.ServicerContext) -> Responses:
        yield plan()
        received.extend(len(next(requests).data) for _ in range(3))
        yield failure("NAN_WEIGHTS", "NaN in x")
        received.extend(len(request.data) for request in requests)
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "NaN in x")

    with scripted_server(fail) as address, connect(address) as client, pytest.raises(PruningError, match="NaN in x"):
        client.prune(large, HALF)
    assert sum(received) <= LARGE_BYTES


def test_server_that_writes_all_before_it_reads_does_not_hang(large: Path, connect: Connect) -> None:
    chunk = bytes(CHUNK_BYTES)

    def write_first(requests: Requests, _context: grpc.ServicerContext) -> Responses:
        yield plan(large.stat().st_size)
        next(requests)
        yield data(next(requests).data)
        yield from (data(chunk) for _ in range(8))
        for _ in requests:
            pass
        yield report()

    with scripted_server(write_first) as address, connect(address) as client:
        assert client.prune(large, HALF, timeout=20).layout.buffer_bytes == LARGE_BYTES


def test_server_that_reads_all_before_it_writes_does_not_hang(large: Path, connect: Connect) -> None:
    def read_first(requests: Requests, _context: grpc.ServicerContext) -> Responses:
        yield plan(next(requests).options.total_bytes)
        content = b"".join(request.data for request in requests)
        yield from (data(content[at : at + CHUNK_BYTES]) for at in range(0, len(content), CHUNK_BYTES))
        yield report()

    with scripted_server(read_first) as address, connect(address) as client:
        assert client.prune(large, HALF, timeout=20).layout.buffer_bytes == LARGE_BYTES


def test_server_that_never_sends_its_plan_runs_into_the_deadline(large: Path, connect: Connect) -> None:
    def wait(requests: Requests, context: grpc.ServicerContext) -> Responses:
        over = threading.Event()
        context.add_callback(over.set)
        over.wait()
        yield from ()

    with (
        scripted_server(wait) as address,
        connect(address, timeout=0.3) as client,
        pytest.raises(DeadlineError, match=f"{address} did not answer in time; check the address"),
    ):
        client.prune(large, HALF)


def test_server_that_does_not_finish_is_told_from_one_that_does_not_answer(large: Path, connect: Connect) -> None:
    def wait(requests: Requests, context: grpc.ServicerContext) -> Responses:
        over = threading.Event()
        context.add_callback(over.set)
        yield plan()
        over.wait()

    with (
        scripted_server(wait) as address,
        connect(address, timeout=2) as client,
        pytest.raises(DeadlineError, match="did not finish in time; allow it more"),
    ):
        client.prune(large, HALF)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, UnavailableError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, CapacityError),
        (grpc.StatusCode.UNKNOWN, InternalError),
        (grpc.StatusCode.UNIMPLEMENTED, ProtocolError),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_status_without_a_reason_is_judged_by_its_code(
    small: Path, code: grpc.StatusCode, expected: type[PruningError], connect: Connect
) -> None:
    def abort(requests: Requests, context: grpc.ServicerContext) -> Responses:
        context.abort(code, "no more")
        yield from ()

    with (
        scripted_server(abort) as address,
        connect(address, retries=0) as client,
        pytest.raises(expected, match="no more") as caught,
    ):
        client.prune(small, HALF)
    assert caught.value.code is code


def test_reason_in_the_details_of_a_status_decides(small: Path, connect: Connect) -> None:
    details = status_pb2.Status(code=14, message="going down")
    details.details.add().Pack(ErrorInfo(reason="SHUTTING_DOWN", domain=DOMAIN, metadata={"request_id": "r1"}))
    details.details.add().Pack(BadRequest(field_violations=[BadRequest.FieldViolation(field="f", description="d")]))
    details.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=3)))

    def abort(requests: Requests, context: grpc.ServicerContext) -> Responses:
        context.set_trailing_metadata((("grpc-status-details-bin", details.SerializeToString()),))
        context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
        yield from ()

    with (
        scripted_server(abort) as address,
        connect(address, retries=0) as client,
        pytest.raises(UnavailableError) as caught,
    ):
        client.prune(small, HALF)
    error = caught.value
    assert (str(error), error.reason, error.request_id) == ("going down", "SHUTTING_DOWN", "r1")
    assert error.violations == (Violation("f", "d"),)
    assert error.retry_after == timedelta(seconds=3)


def test_name_of_the_call_comes_before_anything_can_go_wrong(small: Path, connect: Connect) -> None:
    def abort(requests: Requests, context: grpc.ServicerContext) -> Responses:
        context.send_initial_metadata(((REQUEST_ID_KEY, "r7"),))
        next(requests)
        yield plan()
        context.abort(grpc.StatusCode.UNKNOWN, "proxy")

    with (
        scripted_server(abort) as address,
        connect(address, retries=0) as client,
        pytest.raises(InternalError) as caught,
    ):
        client.prune(small, HALF)
    assert caught.value.request_id == "r7"


def test_call_that_does_not_end_after_its_failure_is_ended(
    small: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pruning_client.transport.sync_stream.END_GRACE_SECONDS", 0.1)
    monkeypatch.setattr("pruning_client.transport.aio_stream.END_GRACE_SECONDS", 0.1)

    def linger(requests: Requests, context: grpc.ServicerContext) -> Responses:
        over = threading.Event()
        context.add_callback(over.set)
        yield failure("SELECTS_NOTHING", "nothing")
        over.wait()  # a client that does not end the call waits until this test fails

    with scripted_server(linger) as address, connect(address) as client, pytest.raises(MismatchError, match="nothing"):
        client.prune(small, HALF)


def test_details_of_somebody_else_are_passed_over(small: Path, connect: Connect) -> None:
    details = status_pb2.Status(code=14)
    details.details.add().Pack(ErrorInfo(reason="SELECTS_NOTHING", domain="proxy.example"))

    def abort(requests: Requests, context: grpc.ServicerContext) -> Responses:
        context.set_trailing_metadata((("grpc-status-details-bin", details.SerializeToString()),))
        context.abort(grpc.StatusCode.UNAVAILABLE, "no upstream")
        yield from ()

    with (
        scripted_server(abort) as address,
        connect(address, retries=0) as client,
        pytest.raises(UnavailableError) as caught,
    ):
        client.prune(small, HALF)
    assert caught.value.reason is None


def test_details_that_are_none_are_passed_over(small: Path, connect: Connect) -> None:
    def abort(requests: Requests, context: grpc.ServicerContext) -> Responses:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff" * 9),))
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
        yield from ()

    with (
        scripted_server(abort) as address,
        connect(address) as client,
        pytest.raises(AuthenticationError, match="does not know"),
    ):
        client.prune(small, HALF)


def test_proxy_is_not_used_for_a_server_on_this_machine(
    small: Path, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with scripted_server(echo) as address, connect(address) as client:
        assert client.prune(small, HALF).layout.tensors


def test_one_client_serves_many_threads(small: Path, connect: Connect) -> None:
    with scripted_server(echo) as address, connect(address) as client, ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: client.prune(small, HALF).layout.total_bytes, range(8)))
    assert results == [small.stat().st_size] * 8


def test_nobody_at_the_address_is_said_with_the_address(small: Path, connect: Connect) -> None:
    with (
        connect("127.0.0.1:1", retries=0) as client,
        pytest.raises(UnavailableError, match=r"no pruning server answers at 127\.0\.0\.1:1"),
    ):
        client.prune(small, HALF)


def test_connection_that_breaks_is_told_from_a_server_that_never_was(large: Path, connect: Connect) -> None:
    def vanish(requests: Requests, context: grpc.ServicerContext) -> Responses:
        next(requests)
        yield plan(large.stat().st_size)
        context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    with (
        scripted_server(vanish) as address,
        connect(address, retries=0) as client,
        pytest.raises(UnavailableError, match=rf"the connection to {address} broke after [\d,]+ bytes .*Socket closed"),
    ):
        client.prune(large, HALF)


def test_server_that_shuts_down_while_it_works_says_so(large: Path, connect: Connect) -> None:
    def shut_down(requests: Requests, context: grpc.ServicerContext) -> Responses:
        next(requests)
        yield plan(large.stat().st_size)
        yield failure("SHUTTING_DOWN", "the server is shutting down")
        context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    with (
        scripted_server(shut_down) as address,
        connect(address, retries=0) as client,
        pytest.raises(UnavailableError) as caught,
    ):
        client.prune(large, HALF)
    assert (str(caught.value), caught.value.reason) == ("the server is shutting down", "SHUTTING_DOWN")


def test_error_of_the_source_reaches_the_caller(large: Path, connect: Connect) -> None:
    def cut_the_file(requests: Requests, context: grpc.ServicerContext) -> Responses:
        large.write_bytes(b"")
        yield from echo(requests, context)

    with (
        scripted_server(cut_the_file) as address,
        connect(address) as client,
        pytest.raises(PruningError, match="changed while it was read"),
    ):
        client.prune(large, HALF)


def test_progress_tells_bytes_of_both_ways(large: Path, connect: Connect) -> None:
    reported: list[Progress] = []
    with scripted_server(echo) as address, connect(address) as client:
        client.prune(large, HALF, progress=reported.append)
    total = large.stat().st_size
    assert reported[-1] == Progress(sent_bytes=total, total_bytes=total, received_bytes=total, result_bytes=total)
    assert [progress.sent_bytes for progress in reported] == sorted(progress.sent_bytes for progress in reported)


class WatcherError(Exception):
    """What a caller's own function raises."""


@pytest.mark.parametrize("received_bytes", [0, 1], ids=["of what is sent", "of what came"])
def test_error_of_a_watcher_reaches_the_caller(
    large: Path, tmp_path: Path, received_bytes: int, connect: Connect
) -> None:
    def complain(progress: Progress) -> None:
        if progress.received_bytes >= received_bytes:
            raise WatcherError

    with scripted_server(echo) as address, connect(address) as client, pytest.raises(WatcherError):
        client.prune_file(large, tmp_path / "out", HALF, progress=complain)
    assert not (tmp_path / "out").exists()
