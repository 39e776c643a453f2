"""The default limit of a call: it ends a call in which nothing happens, and not one that takes long."""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import grpc
import pytest

from pruning_client import rules
from pruning_client.calls.exchange import Exchange
from pruning_client.calls.outcome import Outcome
from pruning_client.calls.request import PruneOptions, request_of_file
from pruning_client.errors import DeadlineError
from pruning_client.transport.aio_connection import GrpcAioConnection
from pruning_client.transport.credentials import NO_SECURITY
from pruning_client.transport.retry import Attempts
from pruning_client.transport.sync_connection import GrpcConnection
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.scripted import plan, report, scripted_server
from tests.client.tiny_files import weight, written

LIMIT_SECONDS = 2.0
Requests = Iterator[pb.PruneRequest]
Responses = Iterator[pb.PruneResponse]
Call: TypeAlias = Callable[[str, Exchange, Attempts], Outcome]


def call(address: str, exchange: Exchange, attempts: Attempts) -> Outcome:
    connection = GrpcConnection(address, NO_SECURITY)
    try:
        return connection.prune(exchange, lambda _: None, None, attempts)
    finally:
        connection.close()


def call_async(address: str, exchange: Exchange, attempts: Attempts) -> Outcome:
    async def run() -> Outcome:
        connection = GrpcAioConnection(address, NO_SECURITY)
        try:
            return await connection.prune(exchange, lambda _: None, None, attempts)
        finally:
            await connection.close()

    return asyncio.run(run())


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    file = written(tmp_path / "in.safetensors", weight(1, 2))
    return Exchange(request_of_file(file, rules.identity(), PruneOptions(output=pb.OUTPUT_FORM_REPORT)))


def default_limit() -> Attempts:
    return Attempts(0, LIMIT_SECONDS, is_extended=True)


both = pytest.mark.parametrize("prune", [call, call_async], ids=["sync", "asyncio"])


@both
def test_slow_call_outlives_its_limit(exchange: Exchange, prune: Call) -> None:
    def work_long(requests: Requests, _context: grpc.ServicerContext) -> Responses:
        yield plan()
        for _ in range(16):
            time.sleep(LIMIT_SECONDS / 10)
            yield pb.PruneResponse(progress=pb.Progress())
        for _ in requests:
            pass
        yield report()

    with scripted_server(work_long) as address:
        assert prune(address, exchange, default_limit()).report is not None


@both
@pytest.mark.parametrize(
    ("begins", "message"),
    [(False, "did not answer in time; check the address"), (True, "did not finish in time; allow it more")],
    ids=["from the beginning", "after the plan"],
)
def test_silent_call_ends_at_its_limit(exchange: Exchange, prune: Call, begins: bool, message: str) -> None:
    over = threading.Event()

    def wait(requests: Requests, context: grpc.ServicerContext) -> Responses:
        context.add_callback(over.set)
        yield from [plan()] * begins
        over.wait()

    with scripted_server(wait) as address, pytest.raises(DeadlineError, match=message):
        prune(address, exchange, default_limit())
    assert over.is_set()


def test_grpc_knows_the_limit_of_the_caller_only() -> None:
    assert default_limit().deadline is None
    assert (Attempts(0, 5.0).deadline or math.nan) <= 5
