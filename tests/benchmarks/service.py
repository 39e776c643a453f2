"""The service against gRPC itself: a table of ratios. `python -m tests.benchmarks.service [--rounds N] [ROW ...]`

Clients, servers and what they are measured against are processes of their own on one machine, on loopback, and hold
random data that they made; both sides take turns, and the median of their calls counts. What is measured and against
what is in the functions below, one for each row. Just before each large call a separate process touches and frees
memory: a virtual machine's host takes back what is free for two seconds, and to get it again costs more than the work.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from tests.benchmarks.models import write_large
from tests.benchmarks.processes import ALL_MEMORY, SERVER_MEMORY, Caller, Job, Peak, raw_server, use_of
from tests.servers import running_server

MODEL_BYTES: Final = 84_934_656 * 4
MILLION: Final = 1_000_000
CLIENTS: Final = 16
TORCH_ROUNDS: Final = 3
TURNS: Final = 3
"""Into which `--seconds` are cut, so that each side sees the same of a machine that is not always as fast."""

TOUCHED_BYTES: Final = 1 << 30
LARGE_CALLER_ENTRIES: Final = 250 * MILLION  # 1 GB


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `value` is what `must` and `goal` are about; `is_cost`: the less the better."""

    work: str
    measured: str
    value: float
    unit: str
    must: float | None = None
    goal: float | None = None
    is_cost: bool = False

    @property
    def mark(self) -> str:
        """Whether the value reaches what was asked: the goal, at least what must be, or nothing of it."""
        if self.goal is not None and self._reaches(self.goal):
            return "goal"
        if self.must is None:
            return ""
        return "reached" if self._reaches(self.must) else "MISSED"

    def _reaches(self, wanted: float) -> bool:
        return self.value <= wanted if self.is_cost else self.value >= wanted

    def line(self) -> str:
        """Return the line of the table."""
        must, goal = (_wanted(wanted, self.is_cost) for wanted in (self.must, self.goal))
        return _cells(self.work, self.measured, f"{self.value:.3g} {self.unit}".strip(), must, goal, self.mark)


@dataclass(frozen=True, slots=True)
class Bench:
    """What the rows measure with: two servers that run, and how often and how large."""

    raw: str
    service: str
    server_process: int
    rounds: int
    gigabytes: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the calls of one side took: the median, which counts, and the best, which noise touches least."""

    median: float
    best: float


Row = Callable[[Bench], Iterator[Figure]]


def ingest(bench: Bench) -> Iterator[Figure]:
    """Sending only: from when gRPC asks for the first chunk of the body to when it has taken the last one.

    The same clock on both sides, in gRPC's own sync client, 2 MiB a chunk. Form PRUNED and a rule of global scope:
    nothing comes back before all is in. The second line sends as much while tensors are pruned on the way, form REPORT.
    """
    raw = Job(kind="raw_sink", address=bench.raw)
    whole = Job(kind="ingest", address=bench.service, scope="global")
    sink, pruned, reported = sides(bench, raw, whole, replace(whole, scope="local", output="report"))
    yield Figure("ingest, global L1", _rates(pruned, sink), sink.median / pruned.median, "x", 0.95, 1.0)
    yield Figure("ingest, local L1, REPORT", _rates(reported, sink), sink.median / reported.median, "x", 0.85, 0.95)


def round_trip(bench: Bench) -> Iterator[Figure]:
    """The whole call of `Client.prune`, 340 MB, against a raw echo of the same bytes.

    The raw client drops what comes back, while `Client` checks it and keeps it in one block of fresh memory. The second
    line is against a raw client that keeps its messages as they are.
    """
    raw = Job(kind="raw_echo", address=bench.raw)
    echo, kept, pruned = sides(bench, raw, replace(raw, output="kept"), Job(kind="prune", address=bench.service))
    yield Figure("round trip, local L1", _times(pruned, echo), echo.median / pruned.median, "x", 0.75, 0.9)
    yield Figure("round trip, echo keeps", _times(pruned, kept), kept.median / pruned.median, "x")


def async_client(bench: Bench) -> Iterator[Figure]:
    """The round trip of `AsyncClient` against that of `Client`."""
    job = Job(kind="prune", address=bench.service)
    sync, asynchronous = sides(bench, job, replace(job, kind="prune_async"))
    yield Figure("AsyncClient, Client", _times(asynchronous, sync), sync.median / asynchronous.median, "x")


def against_torch(bench: Bench) -> Iterator[Figure]:
    """Global L1 at 50 % of 85 million weights, form MASK, as the caller sees it, against torch in its own process."""
    seconds = [_torch_seconds() for _ in range(TORCH_ROUNDS)]
    torch = Timing(statistics.median(seconds), min(seconds))
    job = Job(kind="prune", address=bench.service, scope="global", output="mask")
    (pruned,) = sides(bench, job)
    yield Figure("global L1, MASK, torch", _times(pruned, torch), torch.median / pruned.median, "x", 30, 60)


def memory_local(bench: Bench) -> Iterator[Figure]:
    """The peaks of server and client above idle while a file of 200 MB tensors is pruned into another."""
    server, client, size = _peaks(bench, "local", bench.gigabytes)
    name = f"local, {size / 1e9:.3g} GB"
    yield Figure(f"server's peak, {name}", "RssAnon + RssShmem", server / 1e6, "MB", 350, 200, is_cost=True)
    yield Figure(f"client's peak, {name}", "and RssFile", client / 1e6, "MB", 64, 48, is_cost=True)


def memory_global(bench: Bench) -> Iterator[Figure]:
    """The server's peak above idle, in models, while a quarter as large a file is pruned in global scope."""
    server, _, size = _peaks(bench, "global", bench.gigabytes / 4)
    measured = f"{server / 1e6:.0f} MB of {size / 1e6:.0f}"
    yield Figure("server's peak, global", measured, server / size, "x", 1.3, 1.1, is_cost=True)


def crowd(bench: Bench) -> Iterator[Figure]:
    """16 clients at once, models of 1 million entries, in calls a second against one client's."""
    seconds = bench.seconds / TURNS
    alone: list[float] = []
    together: list[float] = []
    with ExitStack() as stack:
        job = Job(kind="prune", address=bench.service, entries=MILLION, seconds=seconds)
        callers = [stack.enter_context(Caller(job)) for _ in range(CLIENTS)]
        for _ in range(TURNS):
            alone += callers[0].go()
            together += _at_once(callers)
    rates = f"{len(together) / bench.seconds:.0f}/s against {len(alone) / bench.seconds:.0f}/s"
    yield Figure(f"{CLIENTS} clients at once", rates, len(together) / len(alone), "x", 1)
    p50, p99 = _percentiles(together)
    yield Figure(f"{CLIENTS} clients, p99", f"{_ms(p99)}, p50 {_ms(p50)}", p99 / p50, "x p50", 20, is_cost=True)


def beside(bench: Bench) -> Iterator[Figure]:
    """The p99 of small calls beside calls of 1 GB, one after the other, against their p99 alone."""
    small = Job(kind="prune", address=bench.service, entries=MILLION, seconds=bench.seconds / TURNS)
    large = replace(small, entries=LARGE_CALLER_ENTRIES, seconds=small.seconds + 0.5)
    idle: list[float] = []
    busy: dict[str, list[float]] = {"local": [], "global": []}
    with ExitStack() as stack:
        caller = stack.enter_context(Caller(small))
        neighbours = {scope: stack.enter_context(Caller(replace(large, scope=scope))) for scope in busy}
        for _ in range(TURNS):
            idle += caller.go()
            for scope, neighbour in neighbours.items():
                neighbour.begin()
                busy[scope] += caller.go()
                neighbour.seconds()
    _, idle_p99 = _percentiles(idle)
    for scope, seconds in busy.items():
        p50, p99 = _percentiles(seconds)
        measured = f"p99 {_ms(p99)}, idle {_ms(idle_p99)}; p50 {_ms(p50)}"
        yield Figure(f"small calls beside 1 GB, {scope}", measured, p99 / idle_p99, "x", 2.5, 1.5, is_cost=True)


def empty(bench: Bench) -> Iterator[Figure]:
    """A model of 10 kB, against one message each way through a raw stream."""
    raw = Job(kind="raw_echo", address=bench.raw, entries=2_500, calls=200)
    echo, pruned = sides(bench, raw, replace(raw, kind="prune", address=bench.service))
    measured = f"{_ms(pruned.median)} against {_ms(echo.median)}"
    yield Figure("model of 10 kB", measured, pruned.median / echo.median, "x", 2.2, 1.5, is_cost=True)


ROWS: Final[dict[str, Row]] = {
    row.__name__: row
    for row in (ingest, round_trip, empty, against_torch, crowd, beside, memory_local, memory_global, async_client)
}


def sides(bench: Bench, *jobs: Job) -> list[Timing]:
    """Let the callers of the jobs take turns; return how long each one's calls took."""
    seconds: list[list[float]] = [[] for _ in jobs]
    with ExitStack() as stack:
        callers = [stack.enter_context(Caller(job)) for job in jobs]
        for _ in range(bench.rounds):
            for caller, measured in zip(callers, seconds, strict=True):
                touch()
                measured.extend(caller.go())
    return [Timing(statistics.median(measured), min(measured)) for measured in seconds]


def touch() -> None:
    """Touch and free memory, so that the host has given it before the clock runs."""
    script = f"import numpy; numpy.ones({TOUCHED_BYTES}, numpy.uint8)"
    subprocess.run([sys.executable, "-c", script], check=True)


def _at_once(callers: list[Caller]) -> list[float]:
    """Let callers go together; return the seconds of all their calls."""
    for caller in callers:
        caller.begin()
    return [seconds for caller in callers for seconds in caller.seconds()]


def _peaks(bench: Bench, scope: str, gigabytes: float) -> tuple[int, int, int]:
    """Return the bytes that server and client grow by, and those of the file."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "model.safetensors"), Path(folder, "pruned.safetensors")
        write_large(source, int(gigabytes * 1e9))
        job = Job(kind="prune_file", address=bench.service, scope=scope, source=str(source), target=str(target))
        with Caller(job) as caller:
            process = caller.process.pid
            with Peak(bench.server_process, SERVER_MEMORY) as server, Peak(process, ALL_MEMORY) as client:
                caller.go()
        return server.growth, client.growth, source.stat().st_size


def _torch_seconds() -> float:
    """Run torch's global L1 as the engine's own benchmark does: its first row."""
    command = [sys.executable, "-m", "tests.benchmarks.engine", "--one", "0", "torch"]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found["seconds"]


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    p50, p99 = np.percentile(seconds, (50, 99))
    return float(p50), float(p99)


def _rates(ours: Timing, raw: Timing) -> str:
    size = MODEL_BYTES / 1e9
    return (
        f"{size / ours.median:.2f} GB/s against {size / raw.median:.2f}; "
        f"best {size / ours.best:.2f}, {size / raw.best:.2f}"
    )


def _times(ours: Timing, reference: Timing) -> str:
    return f"{ours.median:.3f} s against {reference.median:.3f}; best {ours.best:.3f}, {reference.best:.3f}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def _wanted(wanted: float | None, is_cost: bool) -> str:
    return "" if wanted is None else f"{'<=' if is_cost else '>='} {wanted:g}"


def _cells(*cells: str) -> str:
    widths = (32, 44, 10, 7, 7, 7)
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def table(bench: Bench, names: list[str]) -> Iterator[str]:
    """The lines of the table, as they are measured."""
    yield _cells("work", "measured", "value", "must", "goal", "mark")
    yield _cells(*["---"] * 6)
    for name in names:
        for figure in ROWS[name](bench):
            yield figure.line()


def profile(bench: Bench) -> Iterator[str]:
    """What each of the server's threads uses during round trips of 340 MB."""
    yield "| server's thread | user s | system s | page faults |"
    yield "| --- | --: | --: | --: |"
    with Caller(Job(kind="prune", address=bench.service, calls=bench.rounds)) as caller:
        touch()
        for use in use_of(bench.server_process, caller.go):
            user, system = use.user_seconds / bench.rounds, use.system_seconds / bench.rounds
            if user + system > 0:
                yield f"| {use.name} | {user:.3f} | {system:.3f} | {use.faults // bench.rounds:,} |"


def main() -> None:
    """Print the table, line by line as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="large calls of each side")
    parser.add_argument("--gigabytes", type=float, default=8, help="size of the file, in TMPDIR, for the peaks")
    parser.add_argument("--seconds", type=float, default=10, help="how long small calls go on, of each kind")
    parser.add_argument("--profile", action="store_true", help="instead: what the server's threads do in a round trip")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"only these, of {', '.join(ROWS)}")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.rows if name not in ROWS]:
        parser.error(f"no row is called {', '.join(unknown)}; there are {', '.join(ROWS)}")
    with raw_server() as raw, running_server() as server:
        bench = Bench(raw, server.address, server.process.pid, arguments.rounds, arguments.gigabytes, arguments.seconds)
        lines = profile(bench) if arguments.profile else table(bench, arguments.rows or list(ROWS))
        for line in lines:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
