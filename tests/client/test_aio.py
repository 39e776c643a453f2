"""What is `AsyncClient`'s own: its loop, its tasks, and that it has what `Client` has."""

import asyncio
import inspect
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pruning_client import AsyncClient, Client, rules
from pruning_client.errors import AuthenticationError, UnavailableError
from pruning_client.exchange import Progress
from pruning_proto.limits import CHUNK_BYTES
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.both import BOTH, Connect
from tests.client.checkpoints import checkpoint, weight, written
from tests.client.scripted import data, echo, plan, scripted_server

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


def test_event_loop_goes_on_while_files_are_read_and_written(large: Path, tmp_path: Path) -> None:
    async def longest_pause(address: str) -> float:
        async with AsyncClient(address) as client:
            call = asyncio.create_task(client.prune_file(large, tmp_path / "out", HALF))
            longest, last = 0.0, time.monotonic()
            while not call.done():
                await asyncio.sleep(0.001)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
            await call
            return longest

    with scripted_server(echo) as address:
        assert asyncio.run(longest_pause(address)) < 1


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
