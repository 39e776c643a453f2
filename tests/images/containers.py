"""A container that serves: run as a platform runs it, with nothing that it does not need."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from scripts.images import Engine

HARDENED: Final = ("--read-only", "--tmpfs=/tmp", "--cap-drop=all", "--security-opt=no-new-privileges")
READY_SECONDS: Final = 60.0
ON_LOOPBACK: Final = (
    "--env=PRUNING_LISTEN=127.0.0.1:0",
    "--env=PRUNING_METRICS_LISTEN=127.0.0.1:0",
    "--env=PRUNING_HEALTH_LISTEN=127.0.0.1:0",
)
_LISTENING: Final = re.compile(r"listening address=(\S+) metrics=(\S+) health=(\S+)")


@dataclass(frozen=True, slots=True)
class Container:
    """A server in a container that is up; its ports are this machine's."""

    engine: Engine
    name: str
    address: str
    metrics_address: str
    health_address: str
    ready_seconds: float

    @property
    def process(self) -> int:
        """The number of its process 1, as this machine counts."""
        return int(self.engine.run("inspect", "--format={{.State.Pid}}", self.name))

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return finished(self.engine, "exec", self.name, *command)

    def stop(self, seconds: int) -> tuple[int, float]:
        """Send SIGTERM, and SIGKILL after `seconds`; return its exit status and how long it took."""
        began = time.monotonic()
        self.engine.run("stop", f"--time={seconds}", self.name)
        return int(self.engine.run("inspect", "--format={{.State.ExitCode}}", self.name)), time.monotonic() - began


@contextmanager
def running_container(engine: Engine, image: str, *more: str) -> Iterator[Container]:
    """Run an image hardened, on free ports of loopback and with `more` options, while inside."""
    began = time.monotonic()
    options = ["--detach", "--network=host", *HARDENED, *ON_LOOPBACK, *engine.run_options, *more]
    name = engine.run("run", *options, image)
    try:
        addresses = _addresses(engine, name)
        yield Container(engine, name, *addresses, time.monotonic() - began)
    finally:
        engine.run("rm", "--force", "--time=5" if engine.program == "podman" else "--volumes", name)


def finished(engine: Engine, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the engine's commands to its end, however it ends."""
    command = [engine.program, *engine.options, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _addresses(engine: Engine, name: str) -> tuple[str, str, str]:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        logs = finished(engine, "logs", name)
        if found := _LISTENING.search(logs.stdout + logs.stderr):
            return found[1], found[2], found[3]
        time.sleep(0.05)
    raise AssertionError(f"it does not listen after {READY_SECONDS:g} s: {logs.stdout}{logs.stderr}")
