"""Every reply begins with the id under which the server's log has the call."""

from collections.abc import Iterable
from typing import Any

import grpc
import pytest

from pruning_proto.names import REQUEST_ID_KEY
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess
from tests.service.raw import data, f32, file, l1, options, wait_until

CONTENT = file({"a.weight": ("F32", [2, 2], f32(4, -1, 3, -2))})


def request_id_of(call: grpc.Call) -> str:
    return str(dict(call.initial_metadata())[REQUEST_ID_KEY])


def asked(channel: grpc.Channel, requests: Iterable[pb.PruneRequest]) -> Any:
    prune = channel.stream_stream(
        "/pruning.v1.PruningService/Prune", pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString
    )
    return prune(iter(requests), timeout=20)


def test_a_call_begins_with_the_id_of_its_plan_and_log_line(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        call = asked(channel, [options(CONTENT), *data(CONTENT)])
        responses = list(call)

    assert responses[0].plan.request_id == request_id_of(call)
    assert wait_until(lambda: any(f"prune request_id={request_id_of(call)}" in line for line in server.log))


def test_a_refusal_begins_with_the_id_that_it_tells(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        call = asked(channel, [options(CONTENT, rules=[l1(2)])])
        failure = next(call).failure

        assert failure.metadata["request_id"] == request_id_of(call)


def test_the_id_comes_before_the_client_has_sent_anything(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        call = asked(channel, [])

        assert request_id_of(call)


@pytest.mark.parametrize("request_bytes", [b"", b"\xff"], ids=["answered", "refused"])
def test_capabilities_begin_with_an_id(server: ServerProcess, request_bytes: bytes) -> None:
    with grpc.insecure_channel(server.address) as channel:
        ask = channel.unary_unary(
            "/pruning.v1.PruningService/GetCapabilities",
            lambda message: message,
            pb.GetCapabilitiesResponse.FromString,
        )
        call = ask.future(request_bytes, timeout=10)

        assert request_id_of(call)
