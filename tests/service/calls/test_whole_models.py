"""Small models that come in one message, and are answered in one."""

import grpc
import pytest

from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess
from tests.service.raw import Outcome, call, f32, file, options, prune

CONTENT = file({"a.weight": ("F32", [2, 2], f32(4, -1, 3, -2)), "a.bias": ("F32", [2], f32(1, 2))}, {"format": "pt"})


def prune_whole(address: str, content: bytes = CONTENT, **fields: object) -> Outcome:
    """Send options and file in one message."""
    request = options(content, **fields).options  # type: ignore[arg-type]
    return call(address, [pb.PruneRequest(whole=pb.WholeRequest(options=request, data=content))])


@pytest.mark.parametrize("output", [pb.OUTPUT_FORM_PRUNED, pb.OUTPUT_FORM_MASK, pb.OUTPUT_FORM_REPORT])
def test_answer_is_that_of_a_stream_in_one_message(server: ServerProcess, output: pb.OutputForm) -> None:
    streamed, outcome = prune(server.address, CONTENT, output=output), prune_whole(server.address, output=output)
    assert outcome.code == grpc.StatusCode.OK
    assert outcome.kinds == ["whole"]
    whole = outcome.responses[0].whole
    assert whole.data == streamed.data
    assert list(whole.plan.tensors) == list(streamed.plan.tensors)
    assert list(whole.report.tensors) == list(streamed.report.tensors)
    assert whole.plan.last
    assert whole.report.last


def test_plan_alone_needs_the_header_alone(server: ServerProcess) -> None:
    header = CONTENT[: -len(f32(4, -1, 3, -2, 1, 2))]
    request = options(CONTENT, output=pb.OUTPUT_FORM_PLAN).options
    outcome = call(server.address, [pb.PruneRequest(whole=pb.WholeRequest(options=request, data=header))])
    assert (outcome.code, outcome.kinds) == (grpc.StatusCode.OK, ["plan"])


def test_digests_come_in_messages_of_their_own(server: ServerProcess) -> None:
    outcome = prune_whole(server.address, digests=True)
    assert outcome.kinds == ["plan", "data", "report"]
    assert outcome.report.result_sha256


def test_refusal_comes_as_message_and_status(server: ServerProcess) -> None:
    outcome = prune_whole(server.address, CONTENT[:-1])
    assert outcome.code == grpc.StatusCode.INVALID_ARGUMENT
    assert outcome.kinds == ["failure"]
    assert outcome.failure.reason == Reason.TOTAL_BYTES_MISMATCH
