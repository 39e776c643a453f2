"""Jobs of both clients, with servers that answer as the test says."""

import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.longrunning import operations_proto_pb2 as lro

from pruning_client import Client, JobStatus, Report, errors, rules
from pruning_client.results.job_status import job_status
from pruning_proto.names import OPERATIONS, PRUNE_CHECKPOINT_PATH
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.status import Refusal
from pruning_service.status_details import rpc_status
from tests.client.both import BOTH, Connect

HALF = rules.l1_unstructured(0.5)
PLACES = ("s3://models/in", "s3://models/out")
Answer = Callable[[grpc.ServicerContext], lro.Operation]


def operation(state: "pb.JobState" = pb.JOB_STATE_RUNNING, **fields: Any) -> lro.Operation:
    made = lro.Operation(name="operations/0123abcd/nightly")
    made.metadata.Pack(pb.PruneCheckpointMetadata(name="nightly", state=state, attempt=1, **fields))
    return made


def succeeded() -> lro.Operation:
    made = operation(pb.JOB_STATE_SUCCEEDED)
    made.done = True
    made.response.Pack(pb.PruneCheckpointResponse(report=pb.Report(last=True, totals=pb.Totals(entries=4, pruned=2))))
    return made


def failed(reason: Reason) -> lro.Operation:
    made = operation(pb.JOB_STATE_FAILED)
    made.done = True
    made.error.CopyFrom(rpc_status(Refusal(reason=reason, message="why", metadata={"uri": "s3://x"}), {}))
    return made


def away(context: grpc.ServicerContext) -> lro.Operation:
    context.abort(grpc.StatusCode.UNAVAILABLE, "away")
    raise AssertionError


@contextmanager
def answering(*waits: lro.Operation | Answer) -> Iterator[str]:
    """Serve while inside: a job is begun, and each WaitOperation has the next answer, the last one again and again."""
    remaining = list(waits)

    def wait(_: lro.WaitOperationRequest, context: grpc.ServicerContext) -> lro.Operation:
        answer = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        return answer(context) if callable(answer) else answer

    def begin(request: pb.PruneCheckpointRequest, _: grpc.ServicerContext) -> lro.Operation:
        return operation(source=request.source, target=request.target, labels=request.labels)

    unary = grpc.unary_unary_rpc_method_handler
    operations = {"WaitOperation": unary(wait, lro.WaitOperationRequest.FromString, lro.Operation.SerializeToString)}
    service, _, method = PRUNE_CHECKPOINT_PATH.removeprefix("/").partition("/")
    pruning = {method: unary(begin, pb.PruneCheckpointRequest.FromString, lro.Operation.SerializeToString)}
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(OPERATIONS, operations),
            grpc.method_handlers_generic_handler(service, pruning),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def of_both(client: Client, value: Any) -> Any:
    """Return what a verb of a job returns; one of an AsyncJob is awaited."""
    run: Any = client._run
    return run(value) if inspect.isawaitable(value) else value


@BOTH
def test_a_job_is_what_the_server_says(connect: Connect) -> None:
    with answering(succeeded()) as address, connect(address) as client:
        job = client.prune_checkpoint(*PLACES, HALF, labels={"a": "b"})

    assert (job.name, job.operation, job.state) == ("nightly", "operations/0123abcd/nightly", "running")
    assert (job.status.source, job.status.target, job.status.labels) == (*PLACES, {"a": "b"})
    assert not job.is_done
    with pytest.raises(errors.JobError, match="is running"):
        _ = job.report


@BOTH
def test_wait_shows_each_answer_and_returns_the_report(connect: Connect) -> None:
    seen: list[JobStatus] = []
    steps = [operation(step=step) for step in ("reading", "writing")]
    with answering(*steps, succeeded()) as address, connect(address) as client:
        job = client.prune_checkpoint(*PLACES, HALF)
        report = of_both(client, job.wait(seen.append, timeout=30))

    assert isinstance(report, Report)
    assert report.pruned == 2
    assert [status.step for status in seen] == ["reading", "writing", ""]
    assert job.report == report
    assert job.error is None


@BOTH
@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (Reason.JOB_CANCELLED, errors.JobError),
        (Reason.SOURCE_CHANGED, errors.StorageError),
        (Reason.SELECTS_NOTHING, errors.MismatchError),
    ],
    ids=lambda value: value.name if isinstance(value, Reason) else "",
)
def test_wait_raises_what_the_job_ended_with(connect: Connect, reason: Reason, error: type[Exception]) -> None:
    with answering(failed(reason)) as address, connect(address) as client:
        job = client.prune_checkpoint(*PLACES, HALF)
        with pytest.raises(error, match="why") as raised:
            of_both(client, job.wait(timeout=30))

    assert isinstance(raised.value, errors.PruningError)
    assert raised.value.reason == reason
    assert raised.value.metadata["uri"] == "s3://x"
    assert job.error is raised.value
    assert job.is_done


@BOTH
def test_wait_goes_on_while_no_server_answers(connect: Connect) -> None:
    with answering(away, succeeded()) as address, connect(address, retries=0) as client:
        job = client.prune_checkpoint(*PLACES, HALF)

        assert of_both(client, job.wait(timeout=60)).pruned == 2


@BOTH
def test_wait_ends_with_its_time_and_the_job_goes_on(connect: Connect) -> None:
    with answering(operation()) as address, connect(address) as client:
        job = client.prune_checkpoint(*PLACES, HALF)
        with pytest.raises(errors.DeadlineError, match="it goes on"):
            of_both(client, job.wait(timeout=0.05))

    assert job.state == "running"


@BOTH
@pytest.mark.parametrize("arguments", [(b"s3://a", "s3://b"), ("s3://a", None)], ids=["bytes", "nothing"])
def test_places_are_texts(connect: Connect, arguments: Any) -> None:
    with answering(operation()) as address, connect(address) as client:
        begin: Any = client.prune_checkpoint
        with pytest.raises(TypeError, match="is a URI"):
            begin(*arguments, HALF)


def test_another_operation_is_no_job() -> None:
    with answering(lro.Operation(name="operations/other")) as address, Client(address) as client:
        job = client.prune_checkpoint(*PLACES, HALF)
        with pytest.raises(errors.ProtocolError, match="is not a job"):
            job.wait(timeout=30)


def test_a_status_is_json() -> None:
    with answering(succeeded()) as address, Client(address) as client:
        job = client.prune_checkpoint(*PLACES, HALF)
        job.wait(timeout=30)
    described = job.status.to_dict()

    assert (described["state"], described["report"]["pruned"], described["error"]) == ("succeeded", 2, None)


@pytest.mark.parametrize(
    ("made", "text", "row"),
    [
        pytest.param(operation(shards_total=4, shards_done=1), "running", {"shards": "1 of 4"}, id="running"),
        pytest.param(operation(is_cancelling=True), "cancelling", {"shards": None}, id="cancelling"),
        pytest.param(succeeded(), "succeeded", {"error": None}, id="succeeded"),
        pytest.param(failed(Reason.SOURCE_NOT_FOUND), "failed", {"error": "why"}, id="failed"),
    ],
)
def test_jobs_say_how_they_are(made: lro.Operation, text: str, row: dict[str, Any]) -> None:
    status = job_status(made)
    assert repr(status) == f"<JobStatus: nightly, {text}>"
    (found,) = status.summary.rows
    assert {name: found[name] for name in row} == row
    assert f'<td style="text-align:left">{text}</td>' in status._repr_html_()
