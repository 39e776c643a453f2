"""Small models travel in one message each way, and in a stream to servers that do not know such messages."""

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from pruning_client import rules
from pruning_client.calls.exchange import Progress
from pruning_client.errors import PruningError, RecipeError
from pruning_proto.limits import WHOLE_BYTES
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.both import BOTH, Connect
from tests.client.scripted import echo, failure, plan, report, scripted_server
from tests.client.tiny_files import weight, written

HALF = rules.l1_unstructured(0.5)
Requests = Iterator[pb.PruneRequest]
Responses = Iterator[pb.PruneResponse]


@pytest.fixture
def kinds() -> list[str | None]:
    """The kinds of the first messages that a server was sent."""
    return []


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return written(tmp_path / "small.safetensors", weight(1, -4, 3, -2))


@BOTH
def test_small_model_is_one_message_each_way(small: Path, kinds: list[str | None], connect: Connect) -> None:
    def answer(requests: Requests, _: grpc.ServicerContext) -> Responses:
        received = list(requests)
        kinds.extend(request.WhichOneof("message") for request in received)
        content = received[0].whole.data
        yield pb.PruneResponse(
            whole=pb.WholeResponse(plan=plan(len(content)).plan, data=content, report=report().report)
        )

    with scripted_server(answer, takes_apart=False) as address, connect(address) as client:
        assert client.prune(small, HALF).layout.total_bytes == small.stat().st_size
    assert kinds == ["whole"]


@BOTH
@pytest.mark.parametrize(("entries", "kind"), [(65_400, "whole"), (65_600, "options")])
def test_larger_models_are_streamed(
    tmp_path: Path, entries: int, kind: str, kinds: list[str | None], connect: Connect
) -> None:
    model = written(tmp_path / "model.safetensors", weight(*range(entries)))
    assert (model.stat().st_size <= WHOLE_BYTES) == (kind == "whole")

    def note(requests: Requests, context: grpc.ServicerContext) -> Responses:
        kinds.append(next(requests).WhichOneof("message"))
        yield failure("SELECTS_NOTHING")

    with scripted_server(note, takes_apart=False) as address, connect(address) as client, pytest.raises(PruningError):
        client.prune(model, HALF)
    assert kinds == [kind]


@BOTH
def test_older_servers_are_sent_a_stream(small: Path, kinds: list[str | None], connect: Connect) -> None:
    def older(requests: Requests, context: grpc.ServicerContext) -> Responses:
        first = next(requests)
        kinds.append(first.WhichOneof("message"))
        if first.HasField("whole"):
            yield failure("UNSUPPORTED_FIELD")
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "unknown field 2")
        yield from echo(iter([first, *requests]), context)

    with scripted_server(older, takes_apart=False) as address, connect(address) as client:
        for _ in range(2):
            assert client.prune(small, HALF).layout.total_bytes == small.stat().st_size
    assert kinds == ["whole", "options", "options"]


@BOTH
def test_unsupported_field_of_a_stream_is_raised(small: Path, connect: Connect) -> None:
    def refuse(_: Requests, context: grpc.ServicerContext) -> Responses:
        yield failure("UNSUPPORTED_FIELD")

    with scripted_server(refuse) as address, connect(address) as client, pytest.raises(RecipeError) as caught:
        client.prune(small, HALF)
    assert caught.value.reason == "UNSUPPORTED_FIELD"


@BOTH
def test_progress_is_reported_before_any_answer(small: Path, connect: Connect) -> None:
    is_reported, waits = threading.Event(), []

    def answer_then(_: Requests, context: grpc.ServicerContext) -> Responses:
        waits.append(is_reported.wait(20))
        yield failure("SELECTS_NOTHING")

    def watch(progress: Progress) -> None:
        if progress.sent_bytes == small.stat().st_size:
            is_reported.set()

    with scripted_server(answer_then) as address, connect(address) as client, pytest.raises(PruningError):
        client.prune(small, HALF, progress=watch)
    assert waits == [True]
