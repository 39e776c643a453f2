"""Tasks for tests of executors."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task that notes in a file that it began, with the process that does it."""

    folder: Path
    number: int = 0
    memory_bytes: int = 0

    @property
    def name(self) -> str:
        return f"task {self.number}"

    def run(self) -> bytes:
        with (self.folder / f"begun-{self.number}").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return self._result()

    def _result(self) -> bytes:
        return str(self.number * self.number).encode()


@dataclass(frozen=True, kw_only=True)
class Refused(Task):
    """A task that raises an error whose constructor takes other arguments than its `args`."""

    def _result(self) -> bytes:
        raise TwoPartsError(tensor="w", reason="too small")


class TwoPartsError(ValueError):
    """An error that pickle alone does not carry: it cannot be made again from its text."""

    def __init__(self, *, tensor: str, reason: str) -> None:
        super().__init__(f"tensor {tensor!r} is {reason}")
        self.tensor = tensor


@dataclass(frozen=True, kw_only=True)
class Slow(Task):
    """A task that waits for a file."""

    def _result(self) -> bytes:
        while not (self.folder / "go").exists():
            time.sleep(0.05)
        return super()._result()


@dataclass(frozen=True, kw_only=True)
class Deaf(Slow):
    """A task that goes on when it is interrupted, as one in a long computation does."""

    def _result(self) -> bytes:
        try:
            return super()._result()
        except KeyboardInterrupt:
            (self.folder / f"interrupted-{self.number}").touch()
            return super()._result()


@dataclass(frozen=True, kw_only=True)
class Crash(Task):
    """A task whose process is lost, the first `times` times."""

    times: int

    def _result(self) -> bytes:
        if len((self.folder / f"begun-{self.number}").read_text().splitlines()) <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._result()


@dataclass(frozen=True, kw_only=True)
class Modules(Task):
    """A task that returns whether torch is imported where it runs."""

    def _result(self) -> bytes:
        return str("torch" in sys.modules).encode()
