"""What a server tells Prometheus, scraped from a real one."""

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest
import torch

from pruning_engine.recipe import Scope
from pruning_proto.names import PRUNE_PATH
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.observability.metrics import STAGES, Metrics
from pruning_service.observability.rpc_metrics import MetricsInterceptor
from tests.prometheus import promtool
from tests.servers import ServerProcess, running_server
from tests.service.raw import data, f32, file, l1, options, prune, wait_until
from tests.service.resources.test_device_faults import failing, failing_server
from tests.service.test_server import samples

CONTENT = file({"a.weight": ("F32", [2, 2], f32(4, -1, 3, -2))})
RPC = {"grpc_service": "pruning.v1.PruningService", "grpc_method": "Prune", "grpc_type": "bidi_stream"}
CHANNELS = pb.Rule(
    score=pb.Score(magnitude=pb.Magnitude()),
    granularity=pb.Granularity(channels=pb.Channels(dim=0)),
    scope=pb.SCOPE_GLOBAL,
    amount=pb.Amount(count=1),
)


def labels(**values: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(values.items()))


@contextmanager
def half_sent(server: ServerProcess, content: bytes) -> Iterator[None]:
    """A call that has sent all but the last byte of its file while inside."""
    finish = threading.Event()

    def requests() -> Iterator[pb.PruneRequest]:
        yield options(content)
        yield from data(content[:-1])
        finish.wait(20)
        yield from data(content[-1:])

    with grpc.insecure_channel(server.address) as channel:
        call = channel.stream_stream(PRUNE_PATH, pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString)
        responses = call(requests(), timeout=60)
        try:
            yield
        finally:
            finish.set()
            with suppress(grpc.RpcError):
                list(responses)


def test_promtool_finds_nothing_wrong(server: ServerProcess) -> None:
    prune(server.address, CONTENT)
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=10) as page:
        promtool("check", "metrics", text=page.read())


def test_series_are_there_at_zero_before_anything_happens() -> None:
    metrics = Metrics("0", "cpu", "numpy")
    MetricsInterceptor(metrics, pb.DESCRIPTOR.services_by_name.values())
    value = metrics.registry.get_sample_value

    assert value("grpc_server_handled_total", {**RPC, "grpc_code": "Internal"}) == 0
    assert value("grpc_server_started_total", {**RPC, "grpc_method": "GetCapabilities", "grpc_type": "unary"}) == 0
    assert [value("pruning_refusals_total", {"reason": reason}) for reason in Reason] == [0] * len(Reason)
    assert [value("pruning_sparsity_ratio_count", {"scope": s, "granularity": "entries"}) for s in Scope] == [0] * len(
        Scope
    )


def test_bytes_of_a_call_under_way_are_counted_as_they_come(server: ServerProcess) -> None:
    before = samples(server)
    received, sent = ("pruning_received_bytes_total", ()), ("pruning_sent_bytes_total", ())
    with half_sent(server, CONTENT):
        assert wait_until(lambda: samples(server)[received] - before[received] == len(CONTENT) - 1)
    assert wait_until(lambda: samples(server)["pruning_requests_in_flight", ()] == 0)

    assert samples(server)[received] - before[received] == len(CONTENT)
    assert samples(server)[sent] - before[sent] >= len(CONTENT)


def test_sparsity_is_told_by_scope_and_granularity(server: ServerProcess) -> None:
    before = samples(server)
    prune(server.address, CONTENT, rules=[l1(0.25), CHANNELS])
    found = samples(server)

    told = labels(scope="global", granularity="channels")
    assert found["pruning_sparsity_ratio_count", told] - before["pruning_sparsity_ratio_count", told] == 1
    assert 0.5 <= found["pruning_sparsity_ratio_sum", told] - before["pruning_sparsity_ratio_sum", told] <= 0.75


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "search"])  # of spooled calls only
def test_every_stage_of_a_finished_call_has_its_seconds(server: ServerProcess, stage: str) -> None:
    counted = ("pruning_stage_seconds_count", labels(stage=stage))
    before = samples(server)[counted]
    prune(server.address, CONTENT)

    assert samples(server)[counted] - before == 1


@pytest.mark.parametrize("code", ["Canceled", "DeadlineExceeded"])
def test_call_whose_client_gives_up_is_told_as_that(server: ServerProcess, code: str) -> None:
    counted = ("grpc_server_handled_total", labels(**RPC, grpc_code=code))
    before = samples(server)[counted]
    hold = threading.Event()

    def requests() -> Iterator[pb.PruneRequest]:
        yield options(CONTENT)
        hold.wait(20)

    with grpc.insecure_channel(server.address) as channel:
        call = channel.stream_stream(PRUNE_PATH, pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString)
        responses = call(requests(), timeout=3 if code == "DeadlineExceeded" else 60)
        assert wait_until(lambda: samples(server)["pruning_requests_in_flight", ()] == 1)
        if code == "Canceled":
            responses.cancel()
        assert wait_until(lambda: samples(server)[counted] - before == 1)
        hold.set()

    assert samples(server)["pruning_requests_in_flight", ()] == 0


def test_call_that_waits_for_memory_is_told_and_then_counted_as_refused(server: ServerProcess) -> None:
    content = file({"a.weight": ("F32", [256, 256], bytes(4 * 65_536))})
    needed_bytes = prune(server.address, content).plan.peak_bytes
    with running_server(memory_bytes=str(needed_bytes * 3 // 2), queue_seconds="3") as small:
        with half_sent(small, content):
            assert wait_until(lambda: samples(small)["pruning_reserved_bytes", ()] == needed_bytes)
            waiting = threading.Thread(target=prune, args=(small.address, content))
            waiting.start()
            assert wait_until(lambda: samples(small)["pruning_requests_waiting", ()] == 1)
            waiting.join()
        found = samples(small)

    assert found["pruning_refusals_total", labels(reason="NO_ROOM")] == 1
    assert found["pruning_requests_waiting", ()] == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here to hold memory on")
def test_memory_of_a_cuda_device_is_told() -> None:
    content = file({"a.weight": ("F32", [1024, 1024], bytes(4 << 20))})
    with running_server(device="cuda") as server:
        prune(server.address, content)
        found = samples(server)

    assert 4 << 20 <= found["pruning_device_memory_bytes", ()] < found["pruning_device_capacity_bytes", ()]


def test_lost_device_is_told_while_the_server_ends(tmp_path: Path) -> None:
    with failing_server(tmp_path) as server:
        assert samples(server)["pruning_device_lost", ()] == 0
        with half_sent(server, CONTENT):  # its client is told, and given some time: until then there is a server
            assert wait_until(lambda: samples(server)["pruning_requests_in_flight", ()] == 1)
            prune(server.address, CONTENT, rules=[failing("lost")])
            assert samples(server)["pruning_device_lost", ()] == 1
