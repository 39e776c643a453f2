"""A device that is lost ends the server, one that is full ends a call; the errors are torch's own."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess, running_server
from tests.service.raw import f32, file, options, prune

CONTENT = file({"a.weight": ("F32", [2, 3], f32(1, 2, 3, 4, 5, 6))})

METHOD = """
import torch
import torch.nn.utils.prune

ERRORS = {
    "lost": torch.AcceleratorError("CUDA error: an illegal memory access was encountered\\nand more"),
    "full": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
    "full, otherwise": torch.AcceleratorError("CUDA error: out of memory"),
    "host full": MemoryError(),
    "no more mappings": OSError(12, "Cannot allocate memory"),
    "torch's host memory full": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
    "of its own": ValueError("no CUDA error at all"),
}

class Failing(torch.nn.utils.prune.BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def __init__(self, how):
        self.how = how

    def compute_mask(self, t, default_mask):
        raise ERRORS[self.how]
"""
"""A method that fails as torch does when a kernel of its own goes wrong."""


@contextmanager
def failing_server(site: Path) -> Iterator[ServerProcess]:
    """A server beside which the method is installed."""
    (site / "failing.py").write_text(METHOD, encoding="utf-8")
    info = site / "failing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: failing\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[pruning_engine.methods]\nfailing = failing:Failing\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(Path.cwd())]))
        with running_server(health_listen="127.0.0.1:0") as server:
            yield server


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all that it survives."""
    with failing_server(tmp_path_factory.mktemp("site")) as server:
        yield server


def failing(how: str) -> pb.Rule:
    arguments = {"how": pb.Argument(text=how)}
    return pb.Rule(score=pb.Score(method=pb.CustomMethod(name="failing", arguments=arguments)))


def test_a_lost_device_ends_its_call_for_another_try_and_the_process_with_an_error(tmp_path: Path) -> None:
    with failing_server(tmp_path) as server:
        outcome = prune(server.address, CONTENT, rules=[failing("lost")])
        status = server.process.wait(30)

    assert outcome.failure.reason == Reason.SHUTTING_DOWN
    assert outcome.code is grpc.StatusCode.UNAVAILABLE
    assert outcome.failure.HasField("retry_after")
    assert outcome.detail(error_details_pb2.ErrorInfo).metadata["device"] == "cpu"
    assert status == 1
    (line,) = [line for line in server.log if "CRITICAL" in line]
    assert f"request_id={outcome.plan.request_id} device=cpu lost: CUDA error: an illegal memory access" in line


def test_a_lost_device_ends_the_calls_beside_and_health(tmp_path: Path) -> None:
    release = threading.Event()

    def requests() -> Iterator[pb.PruneRequest]:
        yield options(CONTENT)
        release.wait(20)

    with (
        failing_server(tmp_path) as server,
        grpc.insecure_channel(server.address) as channel,
        grpc.insecure_channel(server.health_address) as probe,
    ):
        port = health_pb2_grpc.HealthStub(probe).Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(port).status == health_pb2.HealthCheckResponse.SERVING
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        beside = channel.stream_stream(
            "/pruning.v1.PruningService/Prune", pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString
        )(requests(), timeout=30)
        assert beside.initial_metadata()
        prune(server.address, CONTENT, rules=[failing("lost")])
        health = {next(watch).status, next(port).status}
        failure = next(message.failure for message in beside if message.HasField("failure"))  # after heartbeats
        release.set()
        server.process.wait(30)

    assert health == {health_pb2.HealthCheckResponse.NOT_SERVING}
    assert failure.reason == Reason.SHUTTING_DOWN
    assert failure.HasField("retry_after")


@pytest.mark.parametrize(
    "how", ["full", "full, otherwise", "host full", "no more mappings", "torch's host memory full"]
)
def test_a_full_device_refuses_the_call_for_now_and_serves_on(full: ServerProcess, how: str) -> None:
    outcome = prune(full.address, CONTENT, rules=[failing(how)])

    assert outcome.failure.reason == Reason.NO_ROOM
    assert outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert outcome.failure.HasField("retry_after")
    assert prune(full.address, CONTENT).code is grpc.StatusCode.OK


def test_an_error_of_the_methods_own_is_the_callers(full: ServerProcess) -> None:
    assert prune(full.address, CONTENT, rules=[failing("of its own")]).failure.reason == Reason.INVALID_RECIPE
