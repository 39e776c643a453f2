"""Headers are read and written in short steps: other threads get their turns. Figures: tests/benchmarks/health.py."""

import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pruning_proto.safetensors.header import build, parse

TENSORS = 20_000
MOST_TURNS = 50

ENTRY = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
HEADERS = {
    "tensors": "{" + ",".join(f'"layers.{index}.bias":{ENTRY}' for index in range(TENSORS)) + "}",
    "one object of small strings": '{"__metadata__":{' + ",".join(f'"{index:x}":""' for index in range(200_000)) + "}}",
    "one long array": '{"a":' + ENTRY[:-1] + ',"x":[' + ",".join("0" for _ in range(500_000)) + "]}}",
}


@pytest.fixture
def short_turns() -> Iterator[None]:
    """Let threads ask for their turn after 0.1 ms, so that there are many of them in little work."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    yield
    sys.setswitchinterval(interval)


def turns_during(work: Callable[[], object]) -> int:
    """Count how often another thread has a turn while this one works."""
    begun, over, turns = threading.Event(), threading.Event(), 0

    def take_turns() -> None:
        nonlocal turns
        begun.set()
        while not over.is_set():
            time.sleep(0)
            turns += 1

    other = threading.Thread(target=take_turns)
    other.start()
    begun.wait()
    before = turns
    work()
    taken = turns - before
    over.set()
    other.join()
    return taken


@pytest.mark.usefixtures("short_turns")
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_other_threads_have_turns_while_a_header_is_parsed(header: str) -> None:
    assert turns_during(lambda: parse(header.encode())) > MOST_TURNS


@pytest.mark.usefixtures("short_turns")
def test_other_threads_have_turns_while_a_header_is_built() -> None:
    tensors = [(f"layers.{index}.bias", "F32", (0,)) for index in range(TENSORS)]
    assert turns_during(lambda: build(tensors, {})) > MOST_TURNS
