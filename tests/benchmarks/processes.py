"""The processes of a benchmark: servers and callers, each its own, and what they hold and use while they run.

A caller is `python -m tests.benchmarks.callers JOB`: it prints "ready" once its data is made and its connection warm.
Each line that it is given lets it go once more, and it answers with the seconds of what it did, as JSON.
"""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from tests.benchmarks.builds import Build

POLL_SECONDS: Final = 0.003
SERVER_MEMORY: Final = ("RssAnon", "RssShmem")
ALL_MEMORY: Final = ("RssAnon", "RssShmem", "RssFile")
"""With mapped files, whose pages somebody has to give back."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a caller is to do each time: `kind` is one of `callers.KINDS`, each of which reads what concerns it.

    It makes `calls` calls, or calls for `seconds` if these are given.
    """

    kind: str
    address: str
    calls: int = 1
    seconds: float = 0.0
    entries: int = 0
    scope: str = "local"
    output: str = "pruned"
    source: str = ""
    target: str = ""


class Caller:
    """A caller, ready once entered. `begin` lets it go; `seconds` waits until it has gone."""

    def __init__(self, job: Job, build: Build | None = None) -> None:
        """`build`: whose client calls, this tree's if None."""
        words = ("-m", "tests.benchmarks.callers", json.dumps(asdict(job)))
        command, folder, environment = (
            ([sys.executable, *words], None, None)
            if build is None
            else (build.command(*words), build.tree, build.environment())
        )
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        line = self._answer()
        assert line == "ready\n", f"the caller said {line!r}, and ended with status {self.process.wait()}"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def begin(self) -> None:
        """Let it go."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def seconds(self) -> list[float]:
        """Wait until it has gone; return how long each of its calls took."""
        seconds: list[float] = json.loads(self._answer())
        return seconds

    def go(self) -> list[float]:
        """Let it go and wait; return how long each of its calls took."""
        self.begin()
        return self.seconds()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@contextmanager
def raw_server() -> Iterator[str]:
    """Run a raw server while inside; return its address."""
    command = [sys.executable, "-m", "tests.benchmarks.raw_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


class Peak:
    """The most memory that a process holds while inside, above what it held on the way in.

    Units: bytes. Polled: a peak shorter than 3 ms may be missed.
    """

    def __init__(self, process: int, parts: tuple[str, ...]) -> None:
        self._status = Path(f"/proc/{process}/status")
        self._parts = [re.compile(rf"{part}:\s+(\d+) kB") for part in parts]
        self._ended = threading.Event()
        self._idle = self._most = self._held()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def growth(self) -> int:
        """The peak above the beginning."""
        return self._most - self._idle

    def _poll(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            try:
                self._most = max(self._most, self._held())
            except (OSError, ValueError):  # it has ended
                return

    def _held(self) -> int:
        text = self._status.read_text(encoding="ascii")
        found = [part.search(text) for part in self._parts]
        if None in found:
            raise ValueError("a process that has ended holds nothing")
        return sum(int(match[1]) * 1024 for match in found if match)


@dataclass(frozen=True, slots=True)
class ThreadUse:
    """What one thread used. Units: seconds of a core; faults are first touches of pages."""

    name: str
    user_seconds: float
    system_seconds: float
    faults: int


def use_of(process: int, work: Callable[[], object]) -> list[ThreadUse]:
    """Return what each thread of `process` used during `work`, the busiest first."""
    before = _threads(process)
    work()
    after = _threads(process)
    none = ThreadUse("", 0.0, 0.0, 0)
    uses = [_difference(use, before.get(thread, none)) for thread, use in after.items()]
    return sorted(uses, key=lambda use: -use.user_seconds - use.system_seconds)


def _difference(after: ThreadUse, before: ThreadUse) -> ThreadUse:
    return ThreadUse(
        after.name,
        after.user_seconds - before.user_seconds,
        after.system_seconds - before.system_seconds,
        after.faults - before.faults,
    )


def _threads(process: int) -> dict[int, ThreadUse]:
    ticks = os.sysconf("SC_CLK_TCK")
    found = {}
    for stat in Path(f"/proc/{process}/task").glob("*/stat"):
        name, fields = stat.read_text(encoding="utf-8").partition("(")[2].rsplit(")", 1)
        values = fields.split()  # from the third field of proc(5) on
        is_first = stat.parent.name == str(process)
        found[int(stat.parent.name)] = ThreadUse(
            "event loop" if is_first else name, int(values[11]) / ticks, int(values[12]) / ticks, int(values[7])
        )
    return found
