"""This tree against an earlier commit: start, memory, and every row of the engine's and the service's benchmarks.

    python -m tests.benchmarks.against 70085ca [--rounds N] [--only PART ...] [--gigabytes G] [--seconds S]

Both builds take turns, and medians count; the ratio is this tree's median to the commit's. One run of each that is not
counted comes first, so that bytecode and the file cache are warm. A row of the service's benchmark is measured by each
build against gRPC itself, and the two values are compared: the ratio is that of the costs, so that less is better.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import grpc
import numpy as np
import psutil  # type: ignore[import-untyped]  # it ships no types
import safetensors.numpy

from pruning_proto.names import GET_CAPABILITIES_PATH
from tests.benchmarks.builds import Build, two_builds
from tests.benchmarks.processes import Caller, Job

PARTS: Final = ("start", "calls", "engine", "service")
SMALL_ENTRIES: Final = 2_500  # 10 kB
CALLED_ENTRIES: Final = 25_000  # 100 kB
CLIENTS: Final = 16
REST_SECONDS: Final = 5.0
"""After so long at rest a server has given back what it freed: it looks every two seconds."""

NO_SLOWER: Final = 1.05
BASE_MB: Final = 1.0
"""Added to what a row of the engine holds: some hold nothing, and two nothings are as much as each other."""

Figures = TypeVar("Figures")

LISTENING: Final = re.compile(r"listening address=(\S+)")
ROW: Final = re.compile(
    r"^\| (?P<work>[^|]+?) +\| (?P<measured>[^|]+?) +\| (?P<value>\d[\d.e+-]*) (?P<unit>[^|]*?) *\|"
)

COSTS: Final = ("small calls beside", "server's peak", "model of 10 kB")
"""Rows of the service's benchmark whose value is what they cost."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One line of the table. Units: those of `unit`; `must` and `goal` are ratios, the less the better."""

    work: str
    unit: str
    before: Sequence[float]
    after: Sequence[float]
    must: float = NO_SLOWER
    goal: float | None = None
    more_is_better: bool = False

    @property
    def ratio(self) -> float:
        """What this tree costs in the commit's costs."""
        before, after = statistics.median(self.before), statistics.median(self.after)
        return before / after if self.more_is_better else after / before

    @property
    def mark(self) -> str:
        """Whether the ratio reaches what was asked."""
        if self.goal is not None and self.ratio <= self.goal:
            return "goal"
        return "reached" if self.ratio <= self.must else "MISSED"

    def line(self) -> str:
        """Return the line of the table."""
        medians = (f"{statistics.median(values):.4g}" for values in (self.before, self.after))
        goal = "" if self.goal is None else f"{self.goal:g}"
        return _cells(self.work, self.unit, *medians, f"{self.ratio:.3f}", f"{self.must:.3g}", goal, self.mark)


def starts(builds: Sequence[Build], rounds: int) -> Iterator[Comparison]:
    """What it takes to begin: one small run without a server, and a server."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "model.safetensors")
        weights = np.random.default_rng(1).standard_normal((50, SMALL_ENTRIES // 50), np.float32)
        safetensors.numpy.save_file({"fc.weight": weights}, file)
        before, after = in_turns(builds, rounds, lambda build: run_seconds(build, file))
    yield Comparison("prune run, 10 kB, file to file", "s", before, after, 0.35, 0.15)
    servers = in_turns(builds, rounds, idle_server)
    before, after = ([ready for ready, _ in side] for side in servers)
    yield Comparison("prune serve until it accepts calls", "s", before, after, 0.3, 0.15)
    before, after = ([held for _, held in side] for side in servers)
    yield Comparison("idle CPU server, VmRSS", "MB", before, after, 0.4, 0.3)


def calls(builds: Sequence[Build], rounds: int, seconds: float) -> Iterator[Comparison]:
    """How many calls each build's server answers to its own clients, 16 at once, models of 100 kB."""
    before, after = in_turns(builds, rounds, lambda build: calls_per_second(build, seconds))
    yield Comparison("16 clients, models of 100 kB", "/s", before, after, 1 / 1.5, 1 / 2.5, more_is_better=True)


def calls_per_second(build: Build, seconds: float) -> float:
    """Return the calls that 16 clients make in a second, each one after the other."""
    with serving(build) as (_, address), ExitStack() as stack:
        job = Job(kind="prune", address=address, entries=CALLED_ENTRIES, seconds=seconds)
        callers = [stack.enter_context(Caller(job, build)) for _ in range(CLIENTS)]
        for caller in callers:
            caller.begin()
        return sum(len(caller.seconds()) for caller in callers) / seconds


def in_turns(builds: Sequence[Build], rounds: int, measure: Callable[[Build], Figures]) -> list[list[Figures]]:
    """Let the builds take turns; return each one's measurements. The first turn does not count."""
    measured = [[measure(build) for build in builds] for _ in range(rounds + 1)][1:]
    return [list(side) for side in zip(*measured, strict=True)]


def run_seconds(build: Build, file: Path) -> float:
    """Return the wall time of one `prune run` without a server."""
    target = file.with_name("pruned.safetensors")
    rule = ("--method", "l1_unstructured", "--amount", "0.5")
    begin = time.perf_counter()
    build.run("-m", "pruning_client", "run", str(file), "-o", str(target), *rule)
    seconds = time.perf_counter() - begin
    target.unlink()
    return seconds


def idle_server(build: Build) -> tuple[float, float]:
    """Return the seconds until a new server has answered its first call, and the megabytes that it holds at rest."""
    begin = time.perf_counter()
    with serving(build) as (_, address):
        with grpc.insecure_channel(address) as channel:
            ask: Any = channel.unary_unary(GET_CAPABILITIES_PATH)
            ask(b"", timeout=60, wait_for_ready=True)
        seconds = time.perf_counter() - begin
    with serving(build) as (process, _):  # one that nobody has called
        time.sleep(REST_SECONDS)
        return seconds, held_bytes(process.pid) / 1e6


@contextmanager
def serving(build: Build) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `prune serve`; enter with its process and address once its log says that it listens."""
    words = ("-m", "pruning_client", "serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")
    process = subprocess.Popen(
        build.command(*words), cwd=build.tree, env=build.environment(), stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        found = next((found for line in process.stderr if (found := LISTENING.search(line))), None)
        assert found is not None, f"the server of {build.name} ended with status {process.wait()}"
        threading.Thread(target=process.stderr.read, daemon=True).start()  # a line for each call would fill the pipe
        yield process, found[1]
    finally:
        process.kill()
        process.wait()


def held_bytes(pid: int) -> int:
    """Return the VmRSS of a process and all its children."""
    process = psutil.Process(pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


def engine_rows(builds: Sequence[Build], rounds: int) -> Iterator[Comparison]:
    """Every row of the engine's benchmark: seconds, and the growth of the peak in memory."""
    script = "import json; from tests.benchmarks.engine import ROWS; print(json.dumps([row.name for row in ROWS]))"
    names = [json.loads(build.run("-c", script)) for build in builds]
    for name in names[0]:

        def measure(build: Build, name: str = name) -> dict[str, float]:
            row = names[builds.index(build)].index(name)
            build.run("-m", "tests.benchmarks.engine", "--touch")
            figures: dict[str, float] = json.loads(
                build.run("-m", "tests.benchmarks.engine", "--one", str(row), "engine")
            )
            return figures

        sides = in_turns(builds, rounds, measure)
        before, after = ([figures["seconds"] for figures in side] for side in sides)
        yield Comparison(name, "s", before, after)
        before, after = ([BASE_MB + figures["bytes"] / 1e6 for figures in side] for side in sides)
        yield Comparison(name, "MB", before, after)


def service_rows(builds: Sequence[Build], rounds: int, options: Sequence[str]) -> Iterator[Comparison]:
    """Every row of the service's benchmark: how it compares with gRPC itself, or what it holds."""

    def measure(build: Build) -> dict[str, tuple[float, str]]:
        lines = build.run("-m", "tests.benchmarks.service", "--rounds", "3", *options).splitlines()
        found = [match for line in lines if (match := ROW.match(line))]
        return {match["work"]: (float(match["value"]), match["unit"]) for match in found}

    sides = in_turns(builds, rounds, measure)
    for work, (_, unit) in sides[0][0].items():
        before, after = ([figures[work][0] for figures in side] for side in sides)
        yield Comparison(work, unit, before, after, more_is_better=unit == "x" and not work.startswith(COSTS))


def table(builds: Sequence[Build], arguments: argparse.Namespace) -> Iterator[str]:
    """Return the lines of the table, as they are measured."""
    yield _cells("work", "unit", builds[0].name, builds[1].name, "ratio", "must", "goal", "mark")
    yield _cells("---", "---", *["--:"] * 5, "---")
    service = ("--gigabytes", str(arguments.gigabytes), "--seconds", str(arguments.seconds))
    parts = {
        "start": lambda: starts(builds, arguments.rounds),
        "calls": lambda: calls(builds, arguments.rounds, arguments.seconds),
        "engine": lambda: engine_rows(builds, arguments.rounds),
        "service": lambda: service_rows(builds, arguments.rounds, service),
    }
    for part in arguments.only:
        for comparison in parts[part]():
            yield comparison.line()


def _cells(*cells: str) -> str:
    widths = (36, 6, 10, 10, 6, 5, 5, 7)
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def main() -> None:
    """Print the table, line by line as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the build to compare with")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each build that count")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="only these parts")
    parser.add_argument("--gigabytes", type=float, default=4, help="for the service's rows: the size of the file")
    parser.add_argument("--seconds", type=float, default=6, help="for the service's rows: how long small calls go on")
    arguments = parser.parse_args()
    with two_builds(arguments.commit) as builds:
        for line in table(builds, arguments):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
