"""Health answers while a call is at its hardest work. How fast it is in figures: tests/benchmarks/health.py."""

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pruning_proto.names import PRUNE_PATH
from pruning_proto.v1 import pruning_pb2 as pb
from tests.benchmarks.health import CASES, Case
from tests.servers import ServerProcess

HEADERS = ("tensors", "metadata of small keys")


@contextmanager
def planning(server: ServerProcess, messages: list[pb.PruneRequest]) -> Iterator[threading.Event]:
    """Make a call and enter when all of it is sent; give what is set when the call is over."""
    sent, over = threading.Event(), threading.Event()

    def requests() -> Iterator[pb.PruneRequest]:
        yield from messages
        sent.set()

    def read(responses: Iterator[bytes]) -> None:
        for _ in responses:
            continue
        over.set()

    with grpc.insecure_channel(server.address) as channel:
        prune = channel.stream_stream(PRUNE_PATH, pb.PruneRequest.SerializeToString, lambda message: message)
        reader = threading.Thread(target=read, args=(prune(requests(), timeout=100),))
        reader.start()
        assert sent.wait(60)
        yield over
        reader.join()


@pytest.mark.parametrize("case", [case for case in CASES if case.name in HEADERS], ids=HEADERS)
def test_health_answers_while_the_largest_header_is_parsed_and_planned(server: ServerProcess, case: Case) -> None:
    answers = 0
    with grpc.insecure_channel(server.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        check(health_pb2.HealthCheckRequest(), timeout=30)
        for _ in range(3):  # planning is too fast for ten answers to one call
            with planning(server, list(dataclasses.replace(case, form=pb.OUTPUT_FORM_PLAN).requests())) as over:
                while not over.is_set():
                    check(health_pb2.HealthCheckRequest(), timeout=30)
                    answers += 1

    assert answers > 10  # a blocked server gives one or two to each call
