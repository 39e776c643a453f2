"""Who may call the main port, and what rejected callers see."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from pruning_client import Client, rules
from pruning_client.errors import AuthenticationError
from pruning_proto.names import PRUNE_PATH
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.rpc.rejections import DROPPING_CALLS
from tests.client.both import BOTH, Connect
from tests.client.tiny_files import checkpoint, weight, written
from tests.servers import ServerProcess, running_server
from tests.service.http2 import windowless_call
from tests.service.raw import data, f32, file, options, prune, wait_until
from tests.service.secured import TOKEN, capabilities_on, health_of, token_file
from tests.service.test_server import samples

HALF = rules.l1_unstructured(0.5)
ANOTHER = "fedcba9876543210-another"
SERVING = health_pb2.HealthCheckResponse.SERVING
OPTIONS = options(file({"a.weight": ("F32", [2, 2], f32(4, -1, 3, -2))}))
MIB = 1 << 20


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the file of tokens."""
    return tmp_path_factory.mktemp("tokens")


@pytest.fixture(scope="module")
def asking(tokens: Path) -> Iterator[ServerProcess]:
    """A server that lets in the caller `ci` alone."""
    with running_server(token_file=str(token_file(tokens))) as server:
        yield server


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return written(tmp_path / "tiny.safetensors", weight(4, -1, 3, -2))


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that our clients send once they have seen a plan, or never."""
    values = bytes(16 * MIB)
    return written(tmp_path / "large.safetensors", checkpoint({"a.weight": ("F32", (2048, 2048), values)}))


def in_flight(server: ServerProcess) -> float:
    """Return how many Prune calls have begun and not ended, refused ones too."""
    prune_calls = [
        (name, value) for (name, labels), value in samples(server).items() if ("grpc_method", "Prune") in labels
    ]
    started, handled = (
        sum(value for name, value in prune_calls if name == f"grpc_server_{what}_total")
        for what in ("started", "handled")
    )
    return started - handled


def writing_until(over: Event) -> Iterator[bytes]:
    """Return a call's first message; the rest never comes."""
    yield OPTIONS.SerializeToString()
    over.wait(60)


def code_of(call: Any) -> grpc.StatusCode:
    """Return the status that a call of several messages ends with."""
    with suppress(grpc.RpcError):
        list(call)
    code: grpc.StatusCode = call.code()
    return code


@BOTH
def test_caller_with_a_known_token_is_let_in(connect: Connect, asking: ServerProcess, tiny: Path) -> None:
    with connect(asking.address, token=TOKEN) as client:
        assert client.capabilities().methods
        assert client.dry_run(tiny, HALF).pruned == 2


@BOTH
@pytest.mark.parametrize("token", [None, ANOTHER], ids=["none", "another"])
@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda client, *_: client.capabilities(), id="capabilities"),
        pytest.param(lambda client, tiny, _: client.dry_run(tiny, HALF), id="small file"),
        pytest.param(lambda client, _, large: client.dry_run(large, HALF), id="large file"),
    ],
)
def test_caller_without_one_is_refused_whatever_it_asks(
    connect: Connect,
    token: str | None,
    ask: Callable[[Client, Path, Path], object],
    asking: ServerProcess,
    tiny: Path,
    large: Path,
) -> None:
    with (
        connect(asking.address, token=token) as client,
        pytest.raises(AuthenticationError, match=r"send one that this server knows.*--token-file") as caught,
    ):
        ask(client, tiny, large)
    assert caught.value.reason == Reason.UNAUTHENTICATED
    assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED
    assert caught.value.request_id
    assert caught.value.attempts == 1


def test_refusal_is_told_twice_also_to_a_client_that_writes_everything_first(asking: ServerProcess) -> None:
    content = file({"a.weight": ("F32", [2048, 2048], bytes(16 * MIB))})
    before = samples(asking)["pruning_received_bytes_total", ()]
    outcome = prune(asking.address, content)
    assert outcome.failure.reason == Reason.UNAUTHENTICATED
    assert outcome.code is grpc.StatusCode.UNAUTHENTICATED
    assert samples(asking)["pruning_received_bytes_total", ()] == before


def test_refusal_reaches_a_client_on_an_event_loop_that_writes_everything_first(asking: ServerProcess) -> None:
    """Such a client sees its own INTERNAL where a server ends a call that is written to."""

    async def outcome() -> tuple[str, grpc.StatusCode]:
        async with grpc.aio.insecure_channel(asking.address) as channel:
            call: Any = channel.stream_stream(PRUNE_PATH, None, pb.PruneResponse.FromString)()
            for message in [OPTIONS, *data(bytes(16 * MIB))]:
                await call.write(message.SerializeToString())
            await call.done_writing()
            answer = await call.read()
            return answer.failure.reason, await call.code()

    assert asyncio.run(outcome()) == (Reason.UNAUTHENTICATED, grpc.StatusCode.UNAUTHENTICATED)


def test_refused_client_that_takes_nothing_is_let_go_of(asking: ServerProcess) -> None:
    with windowless_call(asking.address, PRUNE_PATH, OPTIONS.SerializeToString()):
        assert wait_until(lambda: in_flight(asking) == 1)
        assert wait_until(lambda: in_flight(asking) == 0)


def test_refused_calls_are_taken_from_a_few_at_a_time_and_the_others_end_at_once(asking: ServerProcess) -> None:
    """Each that is taken from is memory, and whoever has no token may make many."""
    never, count = Event(), 2 * DROPPING_CALLS
    with grpc.insecure_channel(asking.address) as channel, ThreadPoolExecutor(count) as callers:
        prune_on: Any = channel.stream_stream(PRUNE_PATH)
        calls = [callers.submit(code_of, prune_on(writing_until(never), timeout=60)) for _ in range(count)]
        first = list(islice(as_completed(calls), DROPPING_CALLS))
        assert in_flight(asking) >= DROPPING_CALLS
        assert {call.result() for call in [*first, *calls]} == {grpc.StatusCode.UNAUTHENTICATED}
        never.set()
    assert "Traceback" not in "".join(asking.log)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        pytest.param([], "the call has no token", id="none"),
        pytest.param([("authorization", TOKEN)], "is not `Bearer TOKEN`", id="no scheme"),
        pytest.param([("authorization", f"Basic {TOKEN}")], "is not `Bearer TOKEN`", id="another scheme"),
        pytest.param([("authorization", "Bearer ")], "is not `Bearer TOKEN`", id="empty"),
        pytest.param([("authorization", f"Bearer {TOKEN}x")], "is not known here", id="longer"),
        pytest.param([("authorization", f"Bearer {TOKEN[:-1]}")], "is not known here", id="shorter"),
        pytest.param([("authorization", f"Bearer {TOKEN}")] * 2, "the call has 2 times", id="twice"),
    ],
)
def test_metadata_that_names_nobody_is_refused_with_what_to_send(
    metadata: list[tuple[str, str]], message: str, asking: ServerProcess
) -> None:
    with grpc.insecure_channel(asking.address) as channel, pytest.raises(grpc.RpcError) as caught:
        capabilities_on(channel)(b"", metadata=metadata, timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert message in str(caught.value.details())
    assert TOKEN[:-1] not in str(caught.value.details())


def test_scheme_is_known_in_any_case(asking: ServerProcess) -> None:
    metadata = [("authorization", f"bearer {TOKEN}")]
    with grpc.insecure_channel(asking.address) as channel:
        assert capabilities_on(channel)(b"", metadata=metadata, timeout=20)


def test_reflection_wants_a_token_too(asking: ServerProcess) -> None:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    with grpc.insecure_channel(asking.address) as channel:
        answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]), timeout=20)
        with pytest.raises(grpc.RpcError) as caught:
            next(answers)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_health_is_open_to_everybody(asking: ServerProcess) -> None:
    assert health_of(asking.address) == health_of(asking.address, "pruning.v1.PruningService") == SERVING


def test_log_names_the_caller_and_never_a_token(asking: ServerProcess, tiny: Path) -> None:
    with Client(asking.address, token=TOKEN) as client:
        request_id = client.dry_run(tiny, HALF).request_id
    assert wait_until(lambda: any(f"{request_id} " in line and " caller=ci " in line for line in asking.log))
    assert TOKEN not in "".join(asking.log)


def test_refusal_is_one_line_in_the_log_and_counted(asking: ServerProcess) -> None:
    refusals = ("pruning_refusals_total", (("reason", Reason.UNAUTHENTICATED),))
    before = samples(asking)[refusals]
    request_id = prune(asking.address, b"", total_bytes=8).failure.metadata["request_id"]
    assert wait_until(lambda: samples(asking)[refusals] == before + 1)
    (line,) = [line for line in asking.log if request_id in line]
    assert "refused " in line
    assert "outcome=UNAUTHENTICATED" in line


def test_token_that_is_taken_away_is_refused_at_the_next_call(asking: ServerProcess, tokens: Path) -> None:
    token_file(tokens, f"ci:{TOKEN}", f"cd:{ANOTHER}")
    with Client(asking.address, token=ANOTHER) as client:
        client.capabilities()
        token_file(tokens)
        with pytest.raises(AuthenticationError):
            client.capabilities()
