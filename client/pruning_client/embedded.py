"""A server of one's own: the service as a child process on a Unix socket in a private folder, while a block lasts.

The child holds the reading end of a pipe and stops when it closes: at the end of the block, and also when this process
is killed. It runs in a session of its own, so that Ctrl-C on a terminal reaches only its parent.
"""

import importlib.util
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pruning_client.errors import UnavailableError

NEEDED: Final = ("torch", "numpy", "safetensors", "grpc_health", "grpc_reflection", "prometheus_client", "re2")
"""What the extra `service` installs: the packages by the names they are imported by."""

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0
_LONGEST_SOCKET_PATH: Final = 100  # the system allows 107 bytes
_SHOWN_LINES: Final = 15


def check_installed() -> None:
    """Raise UnavailableError, saying what to do, if the service's packages are not installed."""
    missing = [name for name in (*NEEDED, "pruning_service") if importlib.util.find_spec(name) is None]
    if missing:
        raise UnavailableError(
            f"the service is not installed here (no {', '.join(missing)}): "
            "pip install 'pruning-service[service]' or, to use a server elsewhere, name it with --server HOST:PORT"
        )


class EmbeddedServer:
    """A running child. `address` is what a `Client` takes."""

    def __init__(self, child: subprocess.Popen[bytes], folder: Path) -> None:
        self.address = _address(folder)
        self._child = child
        self._folder = folder

    def obituary(self) -> str | None:
        """Say how the child ended and what it last said; None while it lives."""
        status = self._child.poll()
        if status is None:
            return None
        how = f"was killed by signal {-status} (out of memory?)" if status < 0 else f"ended with status {status}"
        said = _log(self._folder).read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
        return "\n".join([f"the embedded service {how}", *said])


@contextmanager
def embedded_server() -> Iterator[EmbeddedServer]:
    """Start the service, wait until it listens, and stop it at the end. PRUNING_* sets it, as any server.

    Raises: UnavailableError if it is not installed, or ends or hangs while it starts.
    """
    check_installed()
    folder = _private_folder()
    try:
        child = _start(folder)
        try:
            server = EmbeddedServer(child, folder)
            _wait_until_listening(server, folder)
            yield server
        finally:
            _stop(child)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _private_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="prune-"))  # only this user may enter it
    if len(str(folder)) < _LONGEST_SOCKET_PATH:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="prune-", dir="/tmp"))  # private all the same, and short enough


def _address(folder: Path) -> str:
    return f"unix:{_socket(folder)}"


def _socket(folder: Path) -> Path:
    return folder / "s"


def _log(folder: Path) -> Path:
    return folder / "log"


def _start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pruning_service", "--listen", _address(folder)]
    command += ["--metrics-listen", "none", "--until-stdin-closes"]
    with _log(folder).open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own module, no shell
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )


def _wait_until_listening(server: EmbeddedServer, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(_socket(folder)):
        obituary = server.obituary()
        if obituary is not None:
            raise UnavailableError(f"while it started, {obituary}")
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
    except BaseException:  # Ctrl-C again: do not wait for manners
        child.kill()
        child.wait()
        raise
