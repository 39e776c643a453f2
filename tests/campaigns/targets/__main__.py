"""The server held to its targets while callers do their worst: `python -m tests.campaigns.targets [--minutes N]`.

It prints a table for each target, with the worst figure of each kind of caller, and one of a server under a mix of all
of them for some minutes: memory, threads, descriptors, and the answers to health checks. Everything stays on the
loopback interface. With `--minutes 2` it takes about six minutes; run it on a machine that does nothing else.
"""

import argparse
import json
import math
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc

from pruning_proto.limits import MIB
from tests.campaigns import hostile
from tests.campaigns.calls import encoded
from tests.campaigns.cuts import SMALL
from tests.campaigns.mixed_callers import all_kinds, call_at, misbehave, peaceful_ground
from tests.campaigns.observed import RESERVED, anonymous_bytes, descriptors, gauge, threads
from tests.campaigns.targets.strangers import STRANGERS, Strangers
from tests.campaigns.targets.worst_calls import WORST, Messages
from tests.servers import ServerProcess, running_server
from tests.service.raw import data, options
from tests.service.secured import token_file

MOST_HEALTH_SECONDS: Final = 0.1
MOST_STRANGERS_BYTES: Final = 32 * MIB
MOST_CALLER_BYTES: Final = 16 * MIB
MOST_EXIT_SECONDS: Final = 13.0
STREAMS: Final = 60
DRAIN_SECONDS: Final = 2
AT_ONCE: Final = 24

STRANGER_SECONDS: Final = 2.0
EXIT_GIVE_UP_SECONDS: Final = 60.0
SAMPLE_SECONDS: Final = 0.01


@dataclass
class Table:
    """Rows of one target."""

    title: str
    most: float
    unit: str
    rows: list[tuple[str, float]] = field(default_factory=list)

    def add(self, name: str, value: float) -> None:
        """Add and print a row."""
        if not self.rows:
            say(f"\n{self.title}; must: {self.most:g} {self.unit}")
        self.rows.append((name, value))
        say(f"  {name:<40} {value:>9.1f} {self.unit:<4} {'' if value <= self.most else 'MISSED'}".rstrip())

    def line(self) -> str:
        """Return the worst row."""
        name, value = max(self.rows, key=lambda row: row[1])
        verdict = "met" if value <= self.most else "MISSED"
        return f"  {self.title:<62} {value:>9.1f} {self.unit:<4} {self.most:>7g} {verdict:<7} {name}"


def main() -> int:
    """Measure all targets; return 1 if one is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.targets", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="of the mix; default: 10")
    parser.add_argument("--only", choices=tuple(TARGETS), action="append", help="one target; repeatable")
    asked = parser.parse_args()
    tables = [TARGETS[name]() for name in asked.only or TARGETS]
    if not asked.only and asked.minutes:
        tables.append(mixed(asked.minutes * 60))
    say("\n  target" + " " * 63 + "worst         must         by")
    for table in tables:
        say(table.line())
    return int(any(value > table.most for table in tables for _, value in table.rows))


def serving(**settings: str) -> AbstractContextManager[ServerProcess]:
    """Run a server with a health port of its own."""
    return running_server("--health-listen", "127.0.0.1:0", **settings)


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)  # noqa: T201 - figures are what this is run for


def health_under_load() -> Table:
    """Return the longest health check, on either port, while one caller does its worst."""
    table = Table("longest Health/Check while one caller does its worst", MOST_HEALTH_SECONDS * 1000, "ms")
    with serving() as server:
        table.add("nobody", 1000 * max(_asked_while(server, lambda: time.sleep(2))))
        for name, messages in WORST.items():
            made = messages()
            table.add(name, 1000 * max(_asked_while(server, partial(_call, server, made))))
        for name, strangers in STRANGERS.items():
            for address in (server.address, server.health_address):
                port = "main" if address == server.address else "health"
                seconds = _asked_while(server, partial(_estranged, strangers, address))
                table.add(f"{name}, {port} port", 1000 * max(seconds))
    return table


def memory_of_strangers() -> Table:
    """Return the memory that callers without a token make a server hold beside its budget."""
    table = Table(f"memory that {STREAMS} streams without a token cause", MOST_STRANGERS_BYTES / MIB, "MiB")
    for name, strangers in STRANGERS.items():
        for port in ("main", "health"):
            with TemporaryDirectory() as folder, serving(token_file=str(token_file(Path(folder)))) as server:
                address = server.address if port == "main" else server.health_address
                before = anonymous_bytes(server.process.pid)
                with _sampling(lambda: anonymous_bytes(server.process.pid) - before) as grown:  # noqa: B023
                    _estranged(strangers, address)
                table.add(f"{name}, {port} port", max(grown) / MIB)
    return table


def memory_of_one_caller() -> Table:
    """Return the memory that one call makes a server hold beyond what the call reserved."""
    table = Table("memory above the reservation of one call", MOST_CALLER_BYTES / MIB, "MiB")
    for name, messages in WORST.items():
        made = messages()
        with serving() as server:
            _call(server, encoded([options(SMALL), *data(SMALL)]))
            before = anonymous_bytes(server.process.pid)
            with _sampling(partial(_above_reserved, server, before)) as above:
                _call(server, made)
            table.add(name, max(above) / MIB)
    return table


def _above_reserved(server: ServerProcess, before: int) -> float:
    """Return what a server holds beyond what is reserved, which may change meanwhile."""
    first = gauge(server, RESERVED)
    held = anonymous_bytes(server.process.pid) - before
    return held - max(first, gauge(server, RESERVED))


def exits() -> Table:
    """Return the seconds from SIGTERM to the end of a process, whatever its callers do."""
    table = Table(f"SIGTERM to exit, drain {DRAIN_SECONDS} s", MOST_EXIT_SECONDS, "s")
    for name, messages in WORST.items():
        made = messages()
        table.add(name, _exit_while(lambda server: _call(server, made)))  # noqa: B023
    for name, strangers in STRANGERS.items():
        for port in ("main", "health"):
            table.add(f"{name}, {port} port", _exit_while(partial(_estranged_at, strangers, port)))
    for kind in (hostile.idle_after_the_header, hostile.never_reading, hostile.slow):
        table.add(kind.__name__.replace("_", " "), _exit_while(lambda server: kind(peaceful_ground(server.address))))  # noqa: B023
    return table


def _exit_while(misbehave: Callable[[ServerProcess], object]) -> float:
    with serving(drain_seconds=str(DRAIN_SECONDS)) as server:
        caller = threading.Thread(target=_quietly, args=(misbehave, server), daemon=True)
        caller.start()
        time.sleep(1)
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(EXIT_GIVE_UP_SECONDS)
        return time.monotonic() - begin


def _estranged_at(strangers: Strangers, port: str, server: ServerProcess) -> None:
    _estranged(strangers, server.address if port == "main" else server.health_address)


def _quietly(misbehave: Callable[[ServerProcess], object], server: ServerProcess) -> None:
    with suppress(grpc.RpcError, OSError, ValueError):  # the server has gone
        misbehave(server)


def mixed(seconds: float) -> Table:
    """Return the longest health check while all kinds of callers come in waves; print what the server held."""
    say(f"\na mix of all callers for {seconds / 60:g} minutes, {AT_ONCE} at once")
    say("  seconds   MiB  threads  descriptors  checks  p50 ms  p99 ms  max ms")
    table = Table("longest Health/Check under the mix (recorded, no target)", math.inf, "ms")
    with serving(**hostile.SETTINGS) as server:
        kinds = all_kinds([server.address, server.health_address])
        over, chance = threading.Event(), random.Random(1)  # noqa: S311 - a repeatable choice
        with ThreadPoolExecutor(AT_ONCE) as pool:
            ground = peaceful_ground(server.address)
            callers = [pool.submit(misbehave, over, kinds, ground, chance.random()) for _ in range(AT_ONCE)]
            try:
                worst = _observe(server, seconds)
            finally:
                over.set()
        crashed = [caller.exception() for caller in callers if caller.exception() is not None]
        time.sleep(hostile.REST_SECONDS)
        say(f"  at rest {_held(server)}; callers that crashed: {len(crashed)} {crashed[:1]}")
    table.rows.append(("all kinds of callers", worst))
    return table


def _observe(server: ServerProcess, seconds: float) -> float:
    """Print a row for each eighth of the time; return the longest check in ms."""
    begin, worst = time.monotonic(), 0.0
    for number in range(1, 9):
        end = begin + seconds * number / 8
        taken = sorted(_asked_while(server, lambda: time.sleep(max(0.0, end - time.monotonic()))))  # noqa: B023
        median, late = taken[len(taken) // 2], taken[len(taken) * 99 // 100]
        milliseconds = "".join(f"{1000 * value:8.1f}" for value in (median, late, taken[-1]))
        say(f"  {time.monotonic() - begin:7.0f} {_held(server)} {len(taken):7}{milliseconds}")
        worst = max(worst, 1000 * taken[-1])
    return worst


def _held(server: ServerProcess) -> str:
    process = server.process.pid
    return f"{anonymous_bytes(process) / MIB:5.0f} {threads(process):8} {descriptors(process):12}"


def _estranged(strangers: Strangers, address: str) -> None:
    with suppress(OSError), strangers(address, STREAMS):  # the server may close what it does not like
        time.sleep(STRANGER_SECONDS)


def _call(server: ServerProcess, messages: Messages) -> None:
    call_at(server.address, messages)


def _asked_while(server: ServerProcess, act: Callable[[], object]) -> list[float]:
    """Return the seconds of all health checks on both ports, asked by processes of their own, while `act` runs."""
    with ExitStack() as stack:
        probes = [stack.enter_context(_probe(address)) for address in (server.address, server.health_address)]
        act()
        found: list[float] = []
        for probe in probes:
            output, _ = probe.communicate(timeout=120)
            answered: dict[str, Any] = {"seconds": [math.inf], "failed": ["the probe itself"]}
            if output:
                answered = json.loads(output.splitlines()[-1])
            found += answered["seconds"]
            if answered["failed"]:
                say(f"    {len(answered['failed'])} checks failed: {dict(Counter(answered['failed']))}")
    return found


@contextmanager
def _probe(address: str) -> Iterator[Any]:
    command = [sys.executable, "-m", "tests.campaigns.targets.probe", address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()  # it asks
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def _sampling(value: Callable[[], float]) -> Iterator[list[float]]:
    """Collect values in a thread while inside."""
    samples, over = [value()], threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_SECONDS):
            with suppress(OSError):
                samples.append(value())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


TARGETS: Final = {
    "health": health_under_load,
    "strangers": memory_of_strangers,
    "caller": memory_of_one_caller,
    "exit": exits,
}


if __name__ == "__main__":
    sys.exit(main())
