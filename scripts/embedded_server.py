"""A server for scripts and benchmarks: a child process on a Unix socket in a private folder, while a block lasts.

`prune run` needs none: it prunes in its own process. The child holds the reading end of a pipe and stops when it
closes: at the end of the block, and also when this process is killed. It runs in a session of its own, so that Ctrl-C
on a terminal reaches only its parent.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pruning_client.errors import UnavailableError
from scripts.private_folder import private_folder

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0
_OF_OTHERS: Final = ("PRUNING_TLS_", "PRUNING_TOKEN_FILE", "PRUNING_HEALTH_LISTEN", "PRUNING_METRICS_LISTEN")
"""Settings, by prefix, that are for servers which others call: no one else reaches the socket."""

_SOCKET: Final = "s"
_LOG: Final = "log"
_SHOWN_LINES: Final = 15


class EmbeddedServer:
    """A running child. `address` is what a `Client` takes."""

    def __init__(self, child: subprocess.Popen[bytes], folder: Path) -> None:
        self.address = _address(folder)
        self._child = child
        self._folder = folder

    def exit_error(self) -> UnavailableError | None:
        """Return how the child ended, with the end of its log as notes; None while it runs."""
        status = self._child.poll()
        if status is None:
            return None
        how = f"was killed by signal {-status} (out of memory?)" if status < 0 else f"ended with status {status}"
        exit_error = UnavailableError(f"the embedded service {how}")
        for line in (self._folder / _LOG).read_text(errors="replace").splitlines()[-_SHOWN_LINES:]:
            exit_error.add_note(line)
        return exit_error


@contextmanager
def embedded_server() -> Iterator[EmbeddedServer]:
    """Start the service, wait until it listens, and stop it at the end. `PRUNING_*` variables are its settings.

    Raises: UnavailableError if it ends or hangs while it starts.
    """
    with private_folder((_SOCKET, _LOG)) as folder:
        child = _start(folder)
        try:
            server = EmbeddedServer(child, folder)
            _wait_until_listening(server, folder)
            yield server
        finally:
            _stop(child)


def _address(folder: Path) -> str:
    return f"unix:{folder / _SOCKET}"


def _start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "pruning_service", "--listen", _address(folder)]
    command += ["--metrics-listen", "none", "--health-listen", "none", "--until-stdin-closes"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OF_OTHERS)}
    with (folder / _LOG).open("wb") as log:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
        )


def _wait_until_listening(server: EmbeddedServer, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(folder / _SOCKET):
        exit_error = server.exit_error()
        if exit_error is not None:
            raise exit_error
        if time.monotonic() > deadline:
            raise UnavailableError(f"the embedded service did not start within {START_SECONDS:.0f} s")
        time.sleep(0.02)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        child.stdin.close()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    except BaseException:  # Ctrl-C again: do not wait for a clean stop
        child.kill()
        child.wait()
        raise
