"""The connection of this process to a Ray cluster: one that it is given, or one of its own that ends with it."""

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TextIO, cast

import ray

from pruning_client.errors import UnavailableError

RAY_CLIENT: Final = "ray://"

_CONNECT_SECONDS: Final = 10
"""How long a cluster's port may take to answer. Ray itself tries for two minutes, and then ends the process."""

_RECONNECT: Final = ("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "5")
"""Seconds for which the tasks of a process that is lost go on, through ray://. Ray's default is 30."""

_OBJECT_STORE_BYTES: Final = 80 * 1024 * 1024
"""About the least that Ray allows: what tasks read and write does not pass through it."""

_LONGEST_FOLDER: Final = 40
"""Bytes of the name of Ray's folder: it adds up to 66, and the name of a socket may have 107."""

_AUTHENTICATION: Final = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_AUTHENTICATION_HINT: Final = (
    "if it asks for a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to it or RAY_AUTH_TOKEN_PATH to its file"
)
_LISTENER: Final = "ray_listen_error_messages"
_LOG: Final = logging.getLogger("pruning_client.jobs.ray")


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine if there is no address; end the connection afterwards.

    A connection that the process has already is used, and stays. Raises: UnavailableError.
    """
    if ray.is_initialized():
        yield
        return
    with ExitStack() as stack:
        stdout = stack.enter_context(_quiet_stdout())
        os.environ.setdefault(*_RECONNECT)
        options = _own_cluster(stack) if address is None else {"address": _reachable(address)}
        with _signals_kept():
            _start(address, options)
        stack.callback(_shut_down, stdout)
        yield


def _start(address: str | None, options: dict[str, Any]) -> None:
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        if address is None:
            raise UnavailableError(f"Ray did not start on this machine: {_cause(error)}") from error
        raise UnavailableError(
            f"the Ray cluster at {address} does not admit this process ({_cause(error)}); {_AUTHENTICATION_HINT}"
        ) from error


def _shut_down(stdout: "_WithoutRay") -> None:
    stdout.is_ending = True
    ray.shutdown()


def _own_cluster(stack: ExitStack) -> dict[str, Any]:
    """Return the options of a cluster on this machine, with a folder and a token of its own.

    Its processes listen on all addresses of the machine, whatever the settings say, so that a token is always required.
    Ray's own way to have one is a file in HOME, which fails where that cannot be written.
    """
    parent = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="prune-ray-", dir=parent if len(parent) < _LONGEST_FOLDER - 18 else "/tmp")  # noqa: S108
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    if not any(os.environ.get(name) for name in _AUTHENTICATION):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # Ray sets RAY_AUTH_MODE, which is read on import, itself
        stack.callback(lambda: [os.environ.pop(name, None) for name in _AUTHENTICATION])
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    return {
        "address": "local",  # without it, Ray connects to any cluster that it finds on the machine
        "num_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
        "_temp_dir": folder,
    }


def _reachable(address: str) -> str:
    host, _, port = address.removeprefix(RAY_CLIENT).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"no Ray cluster answers at {address} ({_cause(error)}): PRUNING_RAY_ADDRESS is host:port of its GCS, "
            "on a machine of the cluster, or ray://host:port of its Ray Client server; unset, Ray is started here"
        ) from error
    return address


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Restore the handler of SIGTERM, which Ray replaces silently."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _quiet_stdout() -> Iterator["_WithoutRay"]:
    """Keep what Ray prints about lost workers off stdout, where results go; it does so whatever its options say."""
    stdout = sys.stdout
    quiet = _WithoutRay(stdout)
    sys.stdout = cast("TextIO", quiet)
    try:
        yield quiet
    finally:
        sys.stdout = stdout


class _WithoutRay:
    """A text stream that logs what Ray's thread prints, and when `is_ending` what any does: Ray, what it held back."""

    def __init__(self, stream: TextIO) -> None:
        self.is_ending = False
        self._stream = stream

    def write(self, text: str) -> int:
        if not self.is_ending and threading.current_thread().name != _LISTENER:
            return self._stream.write(text)
        if text.strip():
            _LOG.info("%s", text.strip().splitlines()[0])
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _cause(error: BaseException) -> str:
    """Return the first line of what an error says; where that ends with a colon, the last one too.

    Ray Client sends what went wrong in its server as such a heading and the traceback of that server.
    """
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return f"{lines[0]} {lines[-1].strip()}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
