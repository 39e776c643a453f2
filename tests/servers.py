"""Real servers for tests: `python -m pruning_service` as a child process on a free port."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

READY_SECONDS = 60

OF_THE_IMAGE = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=1"}
"""Variables of the image that change how a server uses memory; a test compares them with the Dockerfile."""


@dataclass
class ServerProcess:
    """A server that serves, and the lines of its log so far."""

    process: subprocess.Popen[str]
    log: list[str] = field(default_factory=list)
    address: str = ""
    metrics_address: str = ""
    health_address: str = ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(READY_SECONDS)


@contextmanager
def running_server(*arguments: str, **settings: str) -> Iterator[ServerProcess]:
    """Run a server with `arguments` and `PRUNING_*` settings by field name while inside."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PRUNING_")}
    with server_of(sys.executable, environment, *arguments, **settings) as server:
        yield server


@contextmanager
def server_as_in_the_image(*arguments: str, **settings: str) -> Iterator[ServerProcess]:
    """Run a server whose memory behaves as in the image, as `running_server`."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PRUNING_")}
    with server_of(sys.executable, environment | OF_THE_IMAGE, *arguments, **settings) as server:
        yield server


@contextmanager
def server_of(
    python: str | Path, environment: Mapping[str, str], *arguments: str, **settings: str
) -> Iterator[ServerProcess]:
    """Run a server in a Python and an environment, as `running_server`."""
    variables = {**environment} | {f"PRUNING_{name.upper()}": value for name, value in settings.items()}
    command: list[str | Path] = [python, "-m", "pruning_service", "--metrics-listen", "127.0.0.1:0"]
    if "listen" not in settings:
        command += ["--listen", "127.0.0.1:0"]
    process = subprocess.Popen([*command, *arguments], env=variables, stderr=subprocess.PIPE, text=True)
    server = ServerProcess(process)
    ready = threading.Event()
    reader = threading.Thread(target=_read_log, args=(server, ready), daemon=True)
    reader.start()
    try:
        assert ready.wait(READY_SECONDS), "".join(server.log)
        assert server.address, "".join(server.log)
        yield server
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


def _read_log(server: ServerProcess, ready: threading.Event) -> None:
    assert server.process.stderr is not None
    for line in server.process.stderr:
        server.log.append(line)
        if found := re.search(r"listening address=(\S+) metrics=(\S+) health=(\S+)", line):
            server.address, server.metrics_address, server.health_address = found.groups()
            ready.set()
    ready.set()
