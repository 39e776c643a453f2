"""Refused calls on a machine whose processors are busy: how long each lives, how many there are, and what they take.

All places of a server are taken, or all of its memory, or its callers have no token; processes beside it use up the
processors, and 200 callers upload models and are refused, again and again. Whatever a refused call takes, it must be
gone with its caller: handlers, reservations, memory and threads do not add up.
"""

import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final

from pruning_proto.limits import MIB
from tests.campaigns.calls import line_to
from tests.campaigns.endurance.observation import quantile
from tests.campaigns.figures import Figures, Tally
from tests.campaigns.hostile import GROWTH_BYTES, REST_SECONDS
from tests.campaigns.observed import anonymous_bytes, metrics_text, seconds_until_free, threads
from tests.campaigns.targets.refused_callers import messages
from tests.servers import ServerProcess, server_as_in_the_image
from tests.service.secured import token_file

PLACES: Final = 4
BURNERS: Final = 4
CALLERS: Final = 200
PROCESSES: Final = 4
"""Of the callers: one that has all of them would be what is measured."""

SECONDS: Final = 15.0
SAMPLE_SECONDS: Final = 0.1
WARM_SECONDS: Final = 3.0
GIVEN_BACK_SECONDS: Final = 35.0
"""After so long at rest a server has given back what became free late: it does so every 30 s."""

ONE_MODEL_BYTES: Final = 40 * MIB
"""A budget that holds one of the models, and not two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    """What is used up. `settings`: of the server. `held`: calls under way that hold it."""

    settings: Mapping[str, str]
    held: int


FULL: Final[Mapping[str, Full]] = MappingProxyType(
    {
        "TOO_MANY_CALLS": Full(settings={"max_calls": str(PLACES)}, held=PLACES),
        "UNAUTHENTICATED": Full(settings={"max_calls": str(PLACES)}, held=0),
        "NO_ROOM": Full(settings={"memory_bytes": str(ONE_MODEL_BYTES), "queue_seconds": "1"}, held=1),
    }
)
"""By the reason that callers are refused for."""


@dataclass(slots=True)
class _Seen:
    """The most that was seen of a server at any moment."""

    handlers: float = 0
    heap_bytes: int = 0
    threads: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def look(self, server: ServerProcess) -> None:
        """Look until it is over."""
        while not self.over.wait(SAMPLE_SECONDS):
            self.heap_bytes = max(self.heap_bytes, anonymous_bytes(server.process.pid))
            self.threads = max(self.threads, threads(server.process.pid))
            self.handlers = max(self.handlers, _open_handlers(server))


def refused_handlers(reason: str, *, seconds: float = SECONDS) -> Figures:
    """Refuse callers for one reason while the machine is overloaded."""
    tally, full = Tally(), FULL[reason]
    settings = {"idle_seconds": "600", "min_bytes_per_second": "0", **full.settings}
    with TemporaryDirectory() as folder, ExitStack() as stack:
        if reason == "UNAUTHENTICATED":
            settings["token_file"] = str(token_file(Path(folder)))
        server = stack.enter_context(server_as_in_the_image(**settings))
        _round(server, full.held, WARM_SECONDS)  # pools and allocators grow to what they are with callers
        before = _heap_at_rest(server)
        found, seen, mean_seconds = _round(server, full.held, seconds)
        _note_outcomes(tally, reason, found)
        with tally.trying("free again"):
            seconds_until_free(server)
        with tally.trying("handlers end with their callers"):
            assert not _open_handlers(server), f"{_open_handlers(server):.0f} are left"
        with tally.trying("no more handlers than calls"):
            assert seen.handlers <= CALLERS + full.held, f"{seen.handlers:.0f} handlers"
        after = _heap_at_rest(server, before + GROWTH_BYTES)
        with tally.trying("memory"):
            assert after - before < GROWTH_BYTES, f"the heap has grown by {(after - before) / MIB:.0f} MiB"
    times = [each for process in found for each in process["seconds"]]
    tally.measured += [
        f"{len(times) / seconds:.0f} refusals/s",
        f"call to status p50 {quantile(times, 0.5):.2f} s, p99 {quantile(times, 0.99):.2f} s",
        f"a handler lives {1000 * mean_seconds:.0f} ms on average",
        f"most handlers {seen.handlers - full.held:.0f}, threads {seen.threads}",
        f"heap {before / MIB:.0f} MiB before, +{(seen.heap_bytes - before) / MIB:.0f} at the most, "
        f"{(after - before) / MIB:+.0f} after",
    ]
    return tally.figures(f"refused handlers, {reason}")


def _round(server: ServerProcess, held: int, seconds: float) -> tuple[list[dict[str, Any]], _Seen, float]:
    """Refuse callers for a while; return what they say, what was seen, and how long a handler lives on average."""
    with _calls_under_way(server, held):
        seen, ended = _Seen(), _ended_handlers(server)
        watcher = threading.Thread(target=seen.look, args=(server,))
        watcher.start()
        try:
            found = _overloaded(server, seconds)
        finally:
            seen.over.set()
            watcher.join()
        return found, seen, _mean_since(server, ended)


def _heap_at_rest(server: ServerProcess, most_bytes: float = 0) -> int:
    """Return a server's memory when no call is under way and it has had the time to give back what is free.

    At once when that is `most_bytes` or less.
    """
    seconds_until_free(server)
    time.sleep(REST_SECONDS)
    end = time.monotonic() + GIVEN_BACK_SECONDS
    while (held := anonymous_bytes(server.process.pid)) > most_bytes and time.monotonic() < end:
        time.sleep(SAMPLE_SECONDS)
    return held


def _note_outcomes(tally: Tally, reason: str, found: Sequence[Mapping[str, Any]]) -> None:
    outcomes: Counter[str] = Counter()
    for process in found:
        outcomes.update(process["outcomes"])
    tally.tried += outcomes.pop(reason, 0)
    for other, times in outcomes.items():
        tally.note(f"{times} calls ended with {other}")
    if not tally.tried:
        tally.note("no call was refused")


@contextmanager
def _calls_under_way(server: ServerProcess, number: int) -> Iterator[None]:
    """Have calls under way that have reserved memory and say no more, while inside."""
    over, opening = threading.Event(), messages(MIB // 4)

    def requests() -> Iterator[bytes]:
        yield from opening
        over.wait()

    with line_to(server.address, seconds=600) as line:
        calls = [line.unread(requests()) for _ in range(number)]
        for call in calls:
            next(call)  # the plan: memory is reserved
        try:
            yield
        finally:
            over.set()
            for call in calls:
                call.cancel()


def _overloaded(server: ServerProcess, seconds: float) -> list[dict[str, Any]]:
    """Let callers be refused, and others use up the processors; return what each process of callers printed."""
    with ExitStack() as stack:
        burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BURNERS)]
        for burner in burners:
            stack.callback(burner.wait)
            stack.callback(burner.kill)
        command = [sys.executable, "-m", "tests.campaigns.targets.refused_callers"]
        processes = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(PROCESSES)
        ]
        for process in processes:
            stack.callback(process.kill)
            assert process.stdin
            process.stdin.write(json.dumps({"address": server.address, "callers": CALLERS // PROCESSES}) + "\n")
            process.stdin.flush()
        time.sleep(seconds)
        return [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in processes]


_OF_PRUNE: Final = r'\{[^}]*grpc_method="Prune"[^}]*\} (\S+)$'


def _sum_of(text: str, series: str) -> float:
    return sum(float(value) for value in re.findall(rf"^{series}{_OF_PRUNE}", text, re.MULTILINE))


def _open_handlers(server: ServerProcess) -> float:
    """Return how many handlers of Prune have begun and not ended."""
    text = metrics_text(server)
    return _sum_of(text, "grpc_server_started_total") - _sum_of(text, "grpc_server_handled_total")


def _ended_handlers(server: ServerProcess) -> tuple[float, float]:
    """Return how many handlers of Prune have ended, and their seconds together."""
    text = metrics_text(server)
    return _sum_of(text, "grpc_server_handling_seconds_count"), _sum_of(text, "grpc_server_handling_seconds_sum")


def _mean_since(server: ServerProcess, before: tuple[float, float]) -> float:
    count, seconds = _ended_handlers(server)
    return (seconds - before[1]) / max(1.0, count - before[0])
