"""How long health takes to answer while the server is at its hardest work. `python -m tests.benchmarks.health [WORD]`

A process of its own asks `Health.Check` every 10 ms; meanwhile another call is made several times: with the largest
header that is allowed, sound or hostile, or with a gigabyte that competes for one global amount. Wanted is 100 ms at
most. Cases can be chosen by a WORD in their names.
"""

import argparse
import json
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pruning_proto.limits import CHUNK_BYTES, HEADER_BYTES, METADATA_KEYS
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import running_server

EVERY_SECONDS = 0.01
WANTED_SECONDS = 0.1
GIGABYTE_TENSORS = 4
"""Tensors of 256 MB each."""


@dataclass(frozen=True)
class Case:
    """A call that keeps the server busy: its header, its rule, and the blocks of its buffer."""

    name: str
    header: Callable[[], bytes]
    times: int = 2
    scope: pb.Scope = pb.SCOPE_LOCAL
    form: pb.OutputForm = pb.OUTPUT_FORM_PRUNED
    buffer_bytes: int = 16

    def requests(self) -> Iterator[pb.PruneRequest]:
        """Return the messages of one call."""
        header = self.header()
        content = struct.pack("<Q", len(header)) + header
        rule = pb.Rule(
            select=pb.Selector(include=["a.weight*"]),
            score=pb.Score(magnitude=pb.Magnitude()),
            scope=self.scope,
            amount=pb.Amount(fraction=0.5),
        )
        options = pb.PruneOptions(
            recipe=pb.Recipe(rules=[rule]), output=self.form, total_bytes=len(content) + self.buffer_bytes
        )
        yield pb.PruneRequest(options=options)
        for at in range(0, len(content), CHUNK_BYTES):
            yield pb.PruneRequest(data=content[at : at + CHUNK_BYTES])
        if self.form == pb.OUTPUT_FORM_PLAN:  # which ends after the header
            return
        block = np.random.default_rng(1).standard_normal(CHUNK_BYTES // 4, np.float32).tobytes()
        for at in range(0, self.buffer_bytes, CHUNK_BYTES):
            yield pb.PruneRequest(data=block[: self.buffer_bytes - at])


def entry(shape: str, begin: int, end: int) -> str:
    """Return what a header says of one fp32 tensor."""
    return f'{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}'


WEIGHT = f'"a.weight":{entry("[2,2]", 0, 16)}'


def filled(before: str, element: Callable[[int], str], after: str) -> bytes:
    """Return a header of the largest size allowed: as many comma-separated elements between two texts as fit."""
    left = HEADER_BYTES - len(before) - len(after)
    elements: list[str] = []
    while (left := left - len(text := element(len(elements))) - 1) >= 0:
        elements.append(text)
    return (before + ",".join(elements) + after).encode()


def most_metadata() -> bytes:
    """Return a header with as many keys of metadata as are allowed."""
    members = ",".join(f'"{index:x}":"{"x" * 60}"' for index in range(METADATA_KEYS))
    return f'{{{WEIGHT},"__metadata__":{{{members}}}}}'.encode()


def empty(name: str, shape: str = "[0]") -> str:
    """Return a tensor of no entries at the end of the buffer of `WEIGHT`."""
    return f'"{name}":{entry(shape, 16, 16)}'


def selected(index: int) -> str:
    """Return a tensor of no entries that the rule selects."""
    return empty(f"a.weight{index}", "[0,0]")


def extra(element: str, brackets: str = "[]") -> Callable[[], bytes]:
    """Return a header whose one tensor has an extra field full of `element`."""
    opened = f'{{"a.weight":{entry("[2,2]", 0, 16)[:-1]},"x":{brackets[0]}'
    return lambda: filled(opened, lambda index: element.replace("#", f"{index:x}"), f"{brackets[1]}}}}}")


def gigabyte() -> bytes:
    """Return the header of a gigabyte of weights."""
    size = (1 << 30) // GIGABYTE_TENSORS
    entries = (
        f'"a.weight{i}":{entry(f"[4096,{size // 4 // 4096}]", i * size, (i + 1) * size)}'
        for i in range(GIGABYTE_TENSORS)
    )
    return f"{{{','.join(entries)}}}".encode()


CASES = (
    Case("nothing else", f"{{{WEIGHT}}}".encode),
    Case("tensors", lambda: filled(f"{{{WEIGHT},", lambda index: empty(f"layers.{index}.bias"), "}")),
    Case("selected tensors", lambda: filled(f"{{{WEIGHT},", selected, "}"), times=1),
    Case("selected tensors, global", lambda: filled(f"{{{WEIGHT},", selected, "}"),
         times=1, scope=pb.SCOPE_GLOBAL),
    Case("tensors out of order",
         lambda: filled(f"{{{WEIGHT},", lambda index: empty(f"{index * 0x9E3779B1 % 2**32:x}.bias"), "}")),
    Case("metadata of small keys", most_metadata),
    Case("one huge string", lambda: filled(f'{{{WEIGHT},"__metadata__":{{"a":"x', lambda _: "x" * 1000, '"}}')),
    Case("one long array", extra("0")),
    Case("an array of strings", extra('""')),
    Case("an array of arrays", extra("[]")),
    Case("an array of objects", extra("{}")),
    Case("one large object", extra('"#":0', "{}")),
    Case("a long shape",
         lambda: filled('{"a.weight":{"dtype":"F32","shape":[2,2,', lambda _: "1", '],"data_offsets":[0,16]}}')),
    Case("a gigabyte, global", gigabyte, times=1, scope=pb.SCOPE_GLOBAL, form=pb.OUTPUT_FORM_MASK,
         buffer_bytes=1 << 30),
)  # fmt: skip


def answers(address: str) -> list[float]:
    """Ask for health until standard input closes; return the seconds that each answer took."""
    taken: list[float] = []
    with grpc.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        check(health_pb2.HealthCheckRequest(), timeout=30)
        sys.stdout.write("asking\n")
        sys.stdout.flush()
        while not _stdin_is_closed():
            begin = time.perf_counter()
            check(health_pb2.HealthCheckRequest(), timeout=30)
            taken.append(time.perf_counter() - begin)
            time.sleep(max(0.0, EVERY_SECONDS - taken[-1]))
    return taken


def _stdin_is_closed() -> bool:
    import select  # noqa: PLC0415 - the probe's alone

    return bool(select.select([sys.stdin], [], [], 0)[0])


def measure(case: Case, address: str) -> tuple[list[float], list[float], str]:
    """Make the call while health is asked: sorted seconds of its answers, seconds of the calls, how the last ended."""
    command = [sys.executable, "-m", "tests.benchmarks.health", "--ask", address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdin
        assert asking.stdout
        asking.stdout.readline()
        seconds, outcome = [], ""
        for _ in range(case.times):
            messages = list(case.requests())
            begin = time.perf_counter()
            outcome = call(address, messages)
            seconds.append(time.perf_counter() - begin)
        asking.stdin.close()
        taken = json.loads(asking.stdout.readline())
    return sorted(taken), seconds, outcome


def call(address: str, requests: list[pb.PruneRequest]) -> str:
    """Make one call and forget its result; return how it ended."""
    with grpc.insecure_channel(address) as channel:
        prune = channel.stream_stream(
            "/pruning.v1.PruningService/Prune", pb.PruneRequest.SerializeToString, lambda message: message
        )
        try:
            for _ in prune(iter(requests), timeout=120):
                pass
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def table(word: str) -> Iterator[str]:
    """The lines of the table, as they are measured."""
    yield "| while this runs | its seconds | it ends | answers | p50 ms | p99 ms | max ms | |"
    yield "| --- | --: | --- | --: | --: | --: | --: | --- |"
    with running_server() as server:
        for case in CASES:
            if word not in case.name:
                continue
            taken, seconds, outcome = measure(case, server.address)
            figures = [taken[len(taken) // 2], taken[int(len(taken) * 0.99)], taken[-1]]
            yield (
                f"| {case.name} | {max(seconds):.2f} | {outcome} | {len(taken)} | "
                + " | ".join(f"{1000 * value:.1f}" for value in figures)
                + f" | {'' if taken[-1] <= WANTED_SECONDS else 'too slow'} |"
            )


def main() -> None:
    """Print the table; or ask for health, in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ask", metavar="ADDRESS", help=argparse.SUPPRESS)
    parser.add_argument("word", nargs="?", default="", help="only cases with this word in their name")
    arguments = parser.parse_args()
    if arguments.ask:
        sys.stdout.write(json.dumps(answers(arguments.ask)) + "\n")
        return
    for line in table(arguments.word):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
