"""The server around the call: capabilities, health, reflection, metrics, settings, the way down."""

import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from pruning_engine.kernels.compiled.library import available_kernels
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess, running_server
from tests.service.raw import data, f32, file, l1, options, prune, wait_until
from tests.service.secured import open_call

CONTENT = file({"a.weight": ("F32", [2, 2], f32(4, -1, 3, -2))})


def capabilities(address: str) -> pb.GetCapabilitiesResponse:
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(
            "/pruning.v1.PruningService/GetCapabilities",
            pb.GetCapabilitiesRequest.SerializeToString,
            pb.GetCapabilitiesResponse.FromString,
        )
        response = ask(pb.GetCapabilitiesRequest(), timeout=10)
        assert isinstance(response, pb.GetCapabilitiesResponse)
        return response


def samples(server: ServerProcess) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Scrape the metrics: (name, labels) to value."""
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=10) as page:
        families = text_string_to_metric_families(page.read().decode())
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }


def test_capabilities_name_torchs_methods_and_the_forms(server: ServerProcess) -> None:
    offered = capabilities(server.address)

    assert [method.name for method in offered.methods] == [
        "identity",
        "random_unstructured",
        "l1_unstructured",
        "random_structured",
        "ln_structured",
        "wanda",
        "ria",
        "sparsegpt",
        "alps",
        "lamp",
        "n_of_m",
        "custom_from_mask",
        "remove_units",
        "remove_random",
        "remove_dead",
    ]
    assert pb.OUTPUT_FORM_MASK in offered.outputs
    assert {"F32", "BF16", "F8_E4M3"} <= set(offered.prunable_dtypes)
    assert offered.limits.chunk_bytes == 2 * 1024 * 1024
    assert "torch" in offered.versions


@pytest.mark.parametrize("service", ["", "pruning.v1.PruningService"])
def test_health_says_serving(server: ServerProcess, service: str) -> None:
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_service(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        ask = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = ask.ServerReflectionInfo(iter([request]), timeout=10)

    listed = [service.name for service in answer.list_services_response.service]
    assert "pruning.v1.PruningService" in listed
    assert "grpc.health.v1.Health" in listed


def test_reflection_v1_describes_itself_and_the_service(server: ServerProcess) -> None:
    path, own = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "grpc.reflection.v1.ServerReflection"
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=own),
    ]
    with grpc.insecure_channel(server.address) as channel:
        ask = channel.stream_stream(
            path,
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        listed, described = ask(iter(requests), timeout=10)

    assert {own, "pruning.v1.PruningService"} <= {each.name for each in listed.list_services_response.service}
    (raw,) = described.file_descriptor_response.file_descriptor_proto
    file = FileDescriptorProto.FromString(raw)
    (method,) = file.service[0].method
    assert (file.package, method.input_type) == (
        "grpc.reflection.v1",
        ".grpc.reflection.v1.ServerReflectionRequest",
    )
    assert b"v1alpha" not in raw


def test_capabilities_have_a_line_in_the_log() -> None:
    with running_server() as server:
        capabilities(server.address)
        assert wait_until(
            lambda: any("capabilities request_id=" in line and "outcome=OK" in line for line in server.log)
        )


def test_metrics_count_a_call_and_a_refusal() -> None:
    with running_server() as server:
        prune(server.address, CONTENT)
        prune(server.address, CONTENT, rules=[l1(2.0)])
        call = (("grpc_method", "Prune"), ("grpc_service", "pruning.v1.PruningService"), ("grpc_type", "bidi_stream"))
        assert wait_until(lambda: samples(server)["grpc_server_handling_seconds_count", call] == 2)
        found = samples(server)

    assert found["grpc_server_started_total", call] == 2
    assert found["grpc_server_handled_total", (("grpc_code", "OK"), *call)] == 1
    assert found["grpc_server_handled_total", (("grpc_code", "InvalidArgument"), *call)] == 1
    assert found["grpc_server_msg_received_total", call] >= 3
    assert found["grpc_server_handling_seconds_count", call] == 2
    assert found["pruning_parameters_total", (("outcome", "pruned"),)] == 2
    assert found["pruning_parameters_total", (("outcome", "kept"),)] == 2
    assert found["pruning_refusals_total", (("reason", Reason.AMOUNT_OUT_OF_RANGE),)] == 1
    assert found["pruning_sparsity_ratio_count", (("granularity", "entries"), ("scope", "local"))] == 1
    assert found["pruning_stage_seconds_count", (("stage", "prune"),)] == 1
    assert found["pruning_received_bytes_total", ()] >= len(CONTENT)
    assert found["pruning_reserved_bytes", ()] == 0
    assert found["pruning_requests_in_flight", ()] == 0


def test_metrics_count_health_and_unary_calls() -> None:
    with running_server() as server:
        capabilities(server.address)
        service = ("grpc_service", "pruning.v1.PruningService")
        call = (("grpc_method", "GetCapabilities"), service, ("grpc_type", "unary"))
        assert wait_until(lambda: samples(server)["grpc_server_handling_seconds_count", call] == 1)
        found = samples(server)

    assert found["grpc_server_handled_total", (("grpc_code", "OK"), *call)] == 1
    assert found["grpc_server_msg_sent_total", call] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_it_stops_cleanly_on(number: signal.Signals) -> None:
    with running_server() as server:
        prune(server.address, CONTENT)

        assert server.stop(number) == 0
    assert "stopped" in server.log[-1]


def test_a_call_that_outlasts_the_drain_is_told_why() -> None:
    release = threading.Event()

    def requests() -> Iterator[pb.PruneRequest]:
        yield options(CONTENT)
        release.wait(20)

    with running_server(drain_seconds="0.2") as server, grpc.insecure_channel(server.address) as channel:
        responses = channel.stream_stream(
            "/pruning.v1.PruningService/Prune", pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString
        )(requests(), timeout=30)
        assert wait_until(lambda: samples(server)["pruning_requests_in_flight", ()] == 1)
        server.process.terminate()
        failure = next(responses).failure
        release.set()
        with pytest.raises(grpc.RpcError) as caught:
            next(responses)
        assert server.process.wait(20) == 0

    assert failure.reason == Reason.SHUTTING_DOWN
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_call_that_finishes_within_the_drain_is_whole() -> None:
    go_on = threading.Event()

    def requests() -> Iterator[pb.PruneRequest]:
        yield options(CONTENT)
        assert go_on.wait(20)
        yield from data(CONTENT)

    with running_server() as server, grpc.insecure_channel(server.address) as channel:
        responses = channel.stream_stream(
            "/pruning.v1.PruningService/Prune", pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString
        )(requests(), timeout=30)
        assert wait_until(lambda: samples(server)["pruning_requests_in_flight", ()] == 1)
        server.process.terminate()
        assert wait_until(lambda: any("stopping" in line for line in server.log))
        go_on.set()
        received = list(responses)
        assert server.process.wait(20) == 0

    assert received[-1].WhichOneof("message") == "report"


def test_a_capabilities_request_that_is_none_is_refused_as_all_else(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        ask = channel.unary_unary(
            "/pruning.v1.PruningService/GetCapabilities",
            lambda message: message,
            pb.GetCapabilitiesResponse.FromString,
        )
        with pytest.raises(grpc.RpcError) as caught:
            ask(b"\xff", timeout=10)

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_the_log_has_one_line_a_call_with_its_request_id() -> None:
    with running_server() as server:
        request_id = prune(server.address, CONTENT).plan.request_id
        refused = prune(server.address, CONTENT, rules=[l1(2.0)]).failure.metadata["request_id"]
        server.stop()

    lines = [line for line in server.log if "prune request_id=" in line]
    assert len(lines) == 2
    assert f"request_id={request_id}" in lines[0]
    assert "outcome=OK" in lines[0]
    assert f"request_id={refused}" in lines[1]
    assert "outcome=AMOUNT_OUT_OF_RANGE" in lines[1]


def test_it_serves_on_a_unix_socket(tmp_path: Path) -> None:
    with running_server("--listen", f"unix:{tmp_path}/s") as server:
        assert prune(server.address, CONTENT).code == grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("arguments", "settings", "text"),
    [
        pytest.param([], {"PRUNING_MEMORY_BYTES": "lots"}, "PRUNING_MEMORY_BYTES must be a whole", id="no number"),
        pytest.param([], {"PRUNING_IDLE_SECONDS": "nan"}, "PRUNING_IDLE_SECONDS", id="NaN"),
        pytest.param([], {"PRUNING_MEMORY": "1"}, "unknown settings: PRUNING_MEMORY", id="unknown"),
        pytest.param([], {"PRUNING_HEADER_BYTES": "100000001"}, "the format's own limit", id="header limit"),
        pytest.param([], {"PRUNING_DEVICE": "tpu"}, "PRUNING_DEVICE is auto, cpu, cuda", id="device"),
        pytest.param(["--device", "cuda:99"], {}, "cuda:99", id="device not there"),
        pytest.param(["--kernels", "mmx"], {}, "is auto, numpy, plain, avx2 or avx512", id="kernels"),
        pytest.param(["--listen", "0.0.0.0:0"], {}, "models would travel in the clear", id="in the clear"),
        pytest.param(["--stores", "file:///does/not/exist"], {}, "file:///does/not/exist is not a folder", id="store"),
        pytest.param(["--listen", "nowhere"], {}, "PRUNING_LISTEN must be host:port", id="address"),
        pytest.param(
            ["--listen", "192.0.2.1:1", "--allow-plaintext"], {}, "cannot listen on 192.0.2.1:1",
            id="not of this machine",
        ),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_before_anything_starts(
    arguments: list[str], settings: dict[str, str], text: str
) -> None:
    command = [sys.executable, "-m", "pruning_service", "--metrics-listen", "none", *arguments]
    ended = subprocess.run(command, env=settings, stderr=subprocess.PIPE, text=True, timeout=60, check=False)

    assert ended.returncode == 2
    assert text in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("kernels", available_kernels())
def test_kernels_in_use_are_reported(kernels: str) -> None:
    with running_server("--kernels", kernels) as server:
        assert capabilities(server.address).kernels == kernels
        (labels,) = [labels for name, labels in samples(server) if name == "pruning_build_info"]
        assert ("kernels", kernels) in labels
        assert prune(server.address, CONTENT).code == grpc.StatusCode.OK


def test_a_port_in_use_is_refused(server: ServerProcess) -> None:
    command = [sys.executable, "-m", "pruning_service", "--metrics-listen", "none", "--listen", server.address]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False)

    assert ended.returncode == 2
    assert f"cannot listen on {server.address}" in ended.stderr


def test_it_stops_when_stdin_closes() -> None:
    command = [sys.executable, "-m", "pruning_service", "--listen", "127.0.0.1:0", "--metrics-listen", "none"]
    with subprocess.Popen(
        [*command, "--until-stdin-closes"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "listening" in process.stderr.readline()
        _, rest = process.communicate(timeout=30)

    assert process.returncode == 0
    assert "stopped" in rest


def test_a_second_signal_ends_a_drain() -> None:
    with (
        running_server(drain_seconds="60") as server,
        grpc.insecure_channel(server.address) as channel,
        open_call(channel, options(CONTENT)),
    ):
        server.process.terminate()
        assert wait_until(lambda: any("stopping" in line for line in server.log))
        server.process.terminate()
        assert server.process.wait(20) == 1


STUCK = """
import asyncio, threading
from pruning_service.__main__ import _leave_at_the_latest
async def main():
    threading.Thread(target=threading.Event().wait).start()  # not a daemon: Python waits for it
    _leave_at_the_latest(0.2)
asyncio.run(main())
"""


def test_thread_that_never_ends_does_not_keep_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", STUCK], stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "not stopped after 0.2 s" in ended.stderr


def test_a_closed_terminal_stops_it_like_sigterm() -> None:
    with running_server() as server:
        server.process.send_signal(signal.SIGHUP)
        assert server.process.wait(20) == 0
        assert wait_until(lambda: any("stopped" in line for line in server.log))


def test_second_server_on_a_unix_socket_is_refused(tmp_path: Path) -> None:
    path = f"unix:{tmp_path / 'socket'}"
    command = [sys.executable, "-m", "pruning_service", "--metrics-listen", "none", "--listen", path]
    with running_server("--listen", path) as server:
        ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        assert capabilities(server.address).version
    assert (ended.returncode, "another server listens there" in ended.stderr) == (2, True)
