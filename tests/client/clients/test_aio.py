"""What is `AsyncClient`'s own: its loop, its tasks, and that it has what `Client` has."""

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from pruning_client import AsyncClient, Client, rules
from pruning_client.calls.exchange import Exchange, Progress
from pruning_client.calls.request import PruneOptions, PruneRequestSpec, recipe_of
from pruning_client.checkpoints.byte_ranges import ByteRanges
from pruning_client.checkpoints.file import FileSource
from pruning_client.errors import AuthenticationError, MismatchError, UnavailableError
from pruning_client.transport.aio_stream import converse
from pruning_client.transport.threads import entered
from pruning_proto.framing import Data, decode_response
from pruning_proto.limits import CHUNK_BYTES
from pruning_proto.names import PRUNE_PATH
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.both import BOTH, Connect
from tests.client.peers import peer
from tests.client.scripted import data, echo, failure, plan, scripted_server
from tests.client.tiny_files import checkpoint, weight, written

HALF = rules.l1_unstructured(0.5)
Requests = Iterator[pb.PruneRequest]
Responses = Iterator[pb.PruneResponse]


def verbs(client: type) -> dict[str, Any]:
    return {name: each for name, each in vars(client).items() if inspect.isfunction(each) and not name.startswith("_")}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return written(tmp_path / "small", weight(1, 2, 3, 4))


@pytest.fixture
def large(tmp_path: Path) -> Path:
    size = 32 * CHUNK_BYTES
    return written(tmp_path / "large", checkpoint({"x": ("U8", (size,), bytes(size))}))


def half_and_no_more(requests: Requests, context: grpc.ServicerContext) -> Responses:
    """Answer with a chunk, and then nothing until the call is over."""
    over = threading.Event()
    context.add_callback(over.set)
    yield plan(next(requests).options.total_bytes)
    yield data(next(requests).data)
    over.wait(20)


def test_both_clients_have_the_same_verbs() -> None:
    assert list(verbs(AsyncClient)) == list(verbs(Client))


@pytest.mark.parametrize("verb", ["__init__", *verbs(Client)])
def test_verb_takes_and_gives_the_same_in_both(verb: str) -> None:
    assert inspect.signature(getattr(AsyncClient, verb)) == inspect.signature(getattr(Client, verb))


@pytest.mark.parametrize("verb", verbs(Client))
def test_verb_is_awaited(verb: str) -> None:
    assert inspect.iscoroutinefunction(getattr(AsyncClient, verb))


@pytest.mark.parametrize("verb", ["prune", "prune_file", "dry_run", "plan", "capabilities"])
def test_verb_says_whose_twin_it_is(verb: str) -> None:
    assert f"as `Client.{verb}` does" in getattr(AsyncClient, verb).__doc__


def test_task_that_is_cancelled_ends_its_call_and_leaves_nothing(large: Path, tmp_path: Path) -> None:
    ended = threading.Event()

    def serve(requests: Requests, context: grpc.ServicerContext) -> Responses:
        context.add_callback(ended.set)
        yield from half_and_no_more(requests, context)

    async def prune(address: str) -> None:
        begun = asyncio.Event()

        def watch(progress: Progress) -> None:
            if progress.received_bytes:
                begun.set()

        async with AsyncClient(address) as client:
            task = asyncio.create_task(client.prune_file(large, tmp_path / "out", HALF, progress=watch))
            await asyncio.wait_for(begun.wait(), 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with scripted_server(serve) as address:
        asyncio.run(prune(address))
        assert ended.wait(20)
    assert list(tmp_path.iterdir()) == [large]


def test_timeout_of_the_event_loop_ends_a_call(small: Path) -> None:
    async def prune(address: str) -> None:
        async with AsyncClient(address) as client, asyncio.timeout(0.2):
            await client.prune(small, HALF)

    with scripted_server(half_and_no_more) as address, pytest.raises(TimeoutError):
        asyncio.run(prune(address))


def test_calls_of_many_tasks_run_at_once(small: Path) -> None:
    together = threading.Barrier(4, timeout=20)

    def wait_for_others(requests: Requests, context: grpc.ServicerContext) -> Responses:
        together.wait()
        yield from echo(requests, context)

    async def prune(address: str) -> None:
        async with AsyncClient(address) as client:
            await asyncio.gather(*(client.prune(small, HALF) for _ in range(4)))

    with scripted_server(wait_for_others) as address:
        asyncio.run(prune(address))


class Recorded(FileSource):
    """A file that notes in which threads it is read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.threads: set[int] = set()

    def pieces(self, ranges: ByteRanges | None = None) -> Iterator[memoryview]:
        for piece in super().pieces(ranges):
            self.threads.add(threading.get_ident())
            yield piece


class RecordedExchange(Exchange):
    """A call that notes in which thread each kind of message is taken in."""

    def __init__(self, asked: PruneRequestSpec) -> None:
        super().__init__(asked)
        self.threads: dict[str, int] = {}

    def receive(self, message: pb.PruneResponse | memoryview) -> memoryview | None:
        kind = "data" if isinstance(message, memoryview) else str(message.WhichOneof("message"))
        self.threads.setdefault(kind, threading.get_ident())
        return super().receive(message)


def asking(source: FileSource) -> PruneRequestSpec:
    return PruneRequestSpec(
        source=source, recipe=recipe_of(HALF, None).to_message(), options=PruneOptions(output=pb.OUTPUT_FORM_PRUNED)
    )


async def conversation(address: str, exchange: Exchange, write: Callable[[Data], object]) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        begin: Any = channel.stream_stream(PRUNE_PATH, None, decode_response)
        await converse(begin, exchange, write)


def test_files_are_read_and_written_on_other_threads_than_the_event_loops(large: Path) -> None:
    source, writing = Recorded(large), set[int]()
    with scripted_server(echo) as address:
        exchange = RecordedExchange(asking(source))
        asyncio.run(conversation(address, exchange, lambda _: writing.add(threading.get_ident())))
    assert source.threads
    assert writing
    assert threading.get_ident() not in source.threads | writing
    assert exchange.threads["plan"] == threading.get_ident()  # a short one is read before a thread would begin


def test_plan_and_header_of_many_tensors_are_read_on_other_threads(tmp_path: Path) -> None:
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]]
    tensors = {f"layers.{layer:04}.weight": ("U8", (1,), b"1") for layer in range(1000)}
    exchange = RecordedExchange(asking(FileSource(written(tmp_path / "many", checkpoint(tensors)))))
    with scripted_server(echo) as address:
        asyncio.run(conversation(address, exchange, lambda _: None))
    assert {"plan", "data"} <= exchange.threads.keys()
    assert threading.get_ident() not in (exchange.threads["plan"], exchange.threads["data"])


def test_token_is_asked_on_another_thread_than_the_event_loops() -> None:
    asked_on: list[int] = []

    def token() -> str:
        asked_on.append(threading.get_ident())
        return "token"

    async def ask(address: str) -> None:
        async with AsyncClient(address, token=token) as client:
            await client.capabilities()

    with peer() as address:
        asyncio.run(ask(address))
    assert asked_on != [threading.get_ident()]


@pytest.mark.parametrize("fails", [False, True], ids=["well", "badly"])
def test_file_is_opened_and_closed_on_other_threads(fails: bool) -> None:
    threads: list[int] = []

    @contextmanager
    def file() -> Iterator[None]:
        threads.append(threading.get_ident())
        try:
            yield
        finally:
            threads.append(threading.get_ident())

    async def use() -> None:
        async with entered(file()):
            if fails:
                raise ValueError

    with suppress(ValueError):
        asyncio.run(use())
    assert len(threads) == 2
    assert threading.get_ident() not in threads


def test_write_that_is_under_way_ends_before_its_file_is_closed(large: Path) -> None:
    order: list[str] = []
    begun, may_end = threading.Event(), threading.Event()

    def write(_: Data) -> None:
        begun.set()
        may_end.wait(20)
        order.append("written")

    async def use(address: str) -> None:
        try:
            await conversation(address, Exchange(asking(FileSource(large))), write)
        finally:
            order.append("closed")

    async def cancel(address: str) -> None:
        task = asyncio.create_task(use(address))
        await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        await asyncio.wait([task], timeout=0.3)  # long enough for one that does not wait
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    with scripted_server(half_and_no_more) as address:
        asyncio.run(cancel(address))
    assert order == ["written", "closed"]


class WatcherError(Exception):
    """What a caller's own function raises."""


def test_cancellation_that_was_caught_before_hides_no_error(small: Path) -> None:
    def read_all(requests: Requests, context: grpc.ServicerContext) -> Responses:
        over = threading.Event()
        context.add_callback(over.set)
        over.wait(20)
        yield from ()

    def complain(progress: Progress) -> None:
        raise WatcherError

    async def catch_and_prune(address: str) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(20)
        async with AsyncClient(address) as client:
            await client.prune(small, HALF, progress=complain)

    async def cancel(address: str) -> None:
        task = asyncio.create_task(catch_and_prune(address))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(WatcherError):
            await task

    with scripted_server(read_all) as address:
        asyncio.run(cancel(address))


def test_status_that_comes_while_sending_is_the_servers(small: Path) -> None:
    def refuse(requests: Requests, context: grpc.ServicerContext) -> Responses:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        yield from ()

    async def errors(address: str) -> list[BaseException | Any]:
        async with AsyncClient(address, retries=0) as client:
            calls = [client.prune(small, HALF) for _ in range(30)]
            return [error for call in calls for error in await asyncio.gather(call, return_exceptions=True)]

    with scripted_server(refuse) as address:
        assert {type(error) for error in asyncio.run(errors(address))} == {AuthenticationError}


def test_without_an_event_loop_there_is_no_client() -> None:
    with pytest.raises(RuntimeError, match="made in the event loop that uses it"):
        AsyncClient("127.0.0.1:1")


def test_client_belongs_to_one_event_loop(small: Path) -> None:
    async def make() -> AsyncClient:
        return AsyncClient("127.0.0.1:1")

    async def use(client: AsyncClient) -> None:
        await client.plan(small, HALF)

    loop = asyncio.new_event_loop()
    try:
        client = loop.run_until_complete(make())
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            asyncio.run(use(client))
        loop.run_until_complete(client.close())
    finally:
        loop.close()


@BOTH
def test_call_of_a_client_that_is_closed_meanwhile_says_so(large: Path, connect: Connect) -> None:
    begun, calls = threading.Event(), 0

    def serve(requests: Requests, context: grpc.ServicerContext) -> Responses:
        nonlocal calls
        calls += 1
        yield from half_and_no_more(requests, context)

    with scripted_server(serve) as address, connect(address) as client:

        def close() -> None:
            begun.wait(20)
            client.close()

        def watch(progress: Progress) -> None:
            if progress.received_bytes:
                begun.set()

        closing = threading.Thread(target=close)
        closing.start()
        with pytest.raises(UnavailableError, match="closed"):
            client.prune(large, HALF, progress=watch)
        closing.join()
    assert calls == 1


@BOTH
@pytest.mark.parametrize("verb", ["capabilities", "plan"])
def test_client_that_is_closed_while_its_token_is_asked_says_so(small: Path, connect: Connect, verb: str) -> None:
    asked, closed = threading.Event(), threading.Event()

    def token() -> str:
        asked.set()
        closed.wait(20)
        return "token"

    with peer() as address, connect(address, token=token) as client:

        def close() -> None:
            asked.wait(20)
            client.close()
            closed.set()

        closing = threading.Thread(target=close)
        closing.start()
        with pytest.raises(UnavailableError, match="closed during the call"):
            client.plan(small, HALF) if verb == "plan" else client.capabilities()
        closing.join()


@BOTH
def test_call_that_waits_for_its_next_attempt_ends_with_its_client(small: Path, connect: Connect) -> None:
    ended = threading.Event()

    def refuse(requests: Requests, context: grpc.ServicerContext) -> Responses:
        context.add_callback(ended.set)
        refusal = failure("NO_ROOM")
        refusal.failure.code = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        refusal.failure.retry_after.seconds = 600  # longer than a test may take
        yield refusal

    with scripted_server(refuse) as address, connect(address, timeout=1200) as client:

        def close() -> None:
            ended.wait(20)
            time.sleep(0.3)  # long enough for the wait to begin
            client.close()

        closing = threading.Thread(target=close)
        closing.start()
        with pytest.raises(UnavailableError, match="closed during the call"):
            client.prune(small, HALF)
        closing.join()


@BOTH
def test_time_that_a_token_takes_is_the_calls(small: Path, connect: Connect) -> None:
    left: list[float] = []

    def note(requests: Requests, context: grpc.ServicerContext) -> Responses:
        left.append(context.time_remaining())
        yield from echo(requests, context)

    def token() -> str:
        time.sleep(0.5)
        return "token"

    with scripted_server(note) as address, connect(address, token=token, timeout=30) as client:
        client.prune(small, HALF)
    assert left[0] < 29.6  # gRPC rounds what it sends


def test_call_that_has_ended_leaves_no_timer(small: Path) -> None:
    def refuse(requests: Requests, context: grpc.ServicerContext) -> Responses:
        yield failure("SELECTS_NOTHING")

    with scripted_server(refuse) as address, Client(address) as client, pytest.raises(MismatchError):
        client.prune(small, HALF)
    timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    for timer in timers:
        timer.join(2)
    assert not any(timer.is_alive() for timer in timers)
