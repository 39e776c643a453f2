"""Clients that read nothing: their calls end all the same, and hold no memory that is not reserved."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess, running_server
from tests.service.raw import data, f32, file, l1, options, wait_until
from tests.service.resources.test_memory import held_bytes
from tests.service.test_server import samples

MIB = 1 << 20
MODEL = file({f"{index}.weight": ("F32", [1024, 1024], bytes(4 * MIB)) for index in range(6)})
WITH_NAN = file(
    {"a.weight": ("F32", [4096, 4096], bytes(64 * MIB)), "b.weight": ("F32", [2, 2], f32(1, 2, math.nan, 4))}
)
MANY = file({f"{'n' * 60}{index}.weight": ("F32", [1, 1], f32(1)) for index in range(20_000)})


@contextmanager
def deaf(server: ServerProcess, requests: Iterator[pb.PruneRequest]) -> Iterator[None]:
    """Make a call and read nothing of it while inside. Without probing, the window stays small."""
    with grpc.insecure_channel(server.address, [("grpc.http2.bdp_probe", 0)]) as channel:
        prune = channel.stream_stream(
            "/pruning.v1.PruningService/Prune", pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString
        )
        call = prune(requests, timeout=100)
        yield
        call.cancel()


def has_ended_with(server: ServerProcess, reason: Reason) -> bool:
    """Whether no call is under way any more, and the last one ended so."""
    return samples(server)["pruning_requests_in_flight", ()] == 0 and f"outcome={reason}" in server.log[-1]


def test_one_that_neither_sends_nor_reads() -> None:
    hold = threading.Event()

    def requests() -> Iterator[pb.PruneRequest]:
        yield options(MODEL)
        yield from data(MODEL[: -4 * MIB])
        hold.wait(60)

    with running_server(idle_seconds="0.5") as server, deaf(server, requests()):
        assert wait_until(lambda: has_ended_with(server, Reason.CLIENT_IDLE))
        hold.set()


def test_one_that_does_not_read_its_plan() -> None:
    asked = options(MANY, output=pb.OUTPUT_FORM_PLAN)
    with (
        running_server(idle_seconds="2") as server,
        deaf(server, iter([asked, *data(MANY[: -4 * 20_000])])),
    ):
        assert wait_until(lambda: has_ended_with(server, Reason.CLIENT_NOT_READING))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_one_whose_model_is_refused() -> None:
    with running_server(idle_seconds="60") as server:
        before = held_bytes(server)
        with deaf(server, iter([options(WITH_NAN), *data(WITH_NAN)])):
            assert wait_until(lambda: has_ended_with(server, Reason.NAN_WEIGHTS))
            assert wait_until(lambda: held_bytes(server) - before < 60 * MIB)


def test_a_plan_is_reserved_until_its_call_ends(server: ServerProcess) -> None:
    hold = threading.Event()

    def requests() -> Iterator[pb.PruneRequest]:
        yield options(MANY, output=pb.OUTPUT_FORM_PLAN)
        yield from data(MANY[: -4 * 20_000])
        hold.wait(60)

    with deaf(server, requests()):
        assert wait_until(lambda: samples(server)["pruning_reserved_bytes", ()] > len(MANY))
        hold.set()
    assert wait_until(lambda: samples(server)["pruning_reserved_bytes", ()] == 0)


def test_garbage_after_a_refusal_does_not_hide_the_refusal(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        prune = channel.stream_stream("/pruning.v1.PruningService/Prune", lambda raw: raw, pb.PruneResponse.FromString)
        call = prune(iter([options(MODEL, [l1(1.5)]).SerializeToString(), b"\xff\xff\xff"]), timeout=30)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert wait_until(lambda: f"outcome={Reason.AMOUNT_OUT_OF_RANGE}" in server.log[-1])
