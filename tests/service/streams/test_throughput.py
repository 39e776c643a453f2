"""A call whose client is too slow while the server waits for it is ended; other waiting does not count."""

import time
from collections.abc import Iterator

import grpc
import pytest

from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.status import Refusal
from pruning_service.streams.throughput import ThroughputCheck
from tests.servers import ServerProcess, running_server
from tests.service.raw import call, data, file, options

LARGE = file({"a.weight": ("F32", [1 << 14, 1 << 10], bytes(1 << 26))})
"""64 MiB, more than gRPC's own buffers take."""

WITHOUT_LOOKAHEAD = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 16))
"""So that the server cannot send far ahead of what is read."""


def test_a_pace_below_the_least_is_refused_once_a_window_of_waiting_is_over() -> None:
    pace = ThroughputCheck(100, "sent", window_seconds=10)
    pace.record(9.9, 500)

    with pytest.raises(Refusal, match="sent 60 bytes a second over 10 s") as refused:
        pace.record(0.1, 100)
    assert refused.value.reason is Reason.CLIENT_TOO_SLOW
    assert refused.value.metadata == {"bytes_per_second": "60", "least_bytes_per_second": "100"}


def test_a_pause_within_a_window_of_good_pace_is_allowed() -> None:
    pace = ThroughputCheck(100, "sent", window_seconds=10)
    pace.record(1, 5000)
    pace.record(9, 0)


def test_every_window_counts_anew() -> None:
    pace = ThroughputCheck(100, "sent", window_seconds=10)
    pace.record(10, 1_000_000)

    with pytest.raises(Refusal):
        pace.record(10, 999)


def test_any_pace_is_allowed_where_none_is_wanted() -> None:
    ThroughputCheck(0, "sent", window_seconds=10).record(1000, 0)


@pytest.fixture(scope="module")
def impatient() -> Iterator[ServerProcess]:
    """A server that wants 1000 bytes a second and judges every second."""
    with running_server(idle_seconds="1", min_bytes_per_second="1000") as server:
        yield server


def trickled(content: bytes, piece_bytes: int) -> Iterator[pb.PruneRequest]:
    yield options(content)
    for message in data(content, piece_bytes):
        time.sleep(0.05)
        yield message


def test_a_client_that_sends_too_slowly_is_told_why(impatient: ServerProcess) -> None:
    content = file({"a.weight": ("F32", [64, 64], bytes(1 << 14))})
    outcome = call(impatient.address, trickled(content, piece_bytes=20))

    assert outcome.failure.reason == Reason.CLIENT_TOO_SLOW
    assert outcome.code is grpc.StatusCode.ABORTED
    assert int(outcome.failure.metadata["bytes_per_second"]) < 1000
    assert "sent" in outcome.failure.message


def test_a_client_that_sends_slowly_but_fast_enough_is_served(impatient: ServerProcess) -> None:
    content = file({"a.weight": ("F32", [64, 128], bytes(1 << 15))})
    outcome = call(impatient.address, trickled(content, piece_bytes=1000))

    assert outcome.code is grpc.StatusCode.OK


def read_slowly(responses: Iterator[pb.PruneResponse]) -> None:
    for _ in responses:
        time.sleep(0.1)


def test_a_client_that_reads_too_slowly_is_ended() -> None:
    with (
        running_server(idle_seconds="1", min_bytes_per_second="100000000", backlog_bytes="1000000") as server,
        grpc.insecure_channel(server.address, WITHOUT_LOOKAHEAD) as channel,
    ):
        responses = channel.stream_stream(
            "/pruning.v1.PruningService/Prune", pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString
        )(iter([options(LARGE), *data(LARGE)]), timeout=60)
        with pytest.raises(grpc.RpcError) as ended:
            read_slowly(responses)

        assert ended.value.code() is grpc.StatusCode.ABORTED
        server.stop()
    assert "outcome=CLIENT_TOO_SLOW" in "".join(server.log)
