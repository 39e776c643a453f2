"""The service as a child process: it serves, and never outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types
import pytest

from pruning_client import Client
from pruning_client.errors import UnavailableError
from scripts.embedded_server import embedded_server

PARENT = """
import sys, time
from scripts.embedded_server import embedded_server
with embedded_server() as server:
    print(server.address, flush=True)
    time.sleep(60)
"""


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def first(give: Callable[[], UnavailableError | None], seconds: float = 10) -> UnavailableError:
    """The first answer that is not None."""
    end = time.monotonic() + seconds
    while (answer := give()) is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    return answer


def test_child_serves_on_a_private_socket_and_is_gone_after() -> None:
    before = children()
    with embedded_server() as server:
        folder = Path(server.address.removeprefix("unix:")).parent
        assert folder.stat().st_mode & 0o777 == 0o700
        with Client(server.address) as client:
            assert client.capabilities().methods
    assert not folder.exists()
    assert children() == before


def test_what_is_set_for_servers_that_others_call_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA", "TOKEN_FILE"):
        monkeypatch.setenv(f"PRUNING_{name}", "nowhere")
    monkeypatch.setenv("PRUNING_HEALTH_LISTEN", "nowhere:1")
    with embedded_server() as server, Client(server.address) as client:
        assert client.capabilities().methods


def test_ctrl_c_on_a_terminal_does_not_reach_the_child() -> None:
    before = children()
    with embedded_server():
        (child,) = children() - before
        assert os.getsid(child) != os.getsid(0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_child_dies_with_its_parent(number: signal.Signals, tmp_path: Path) -> None:
    command, environment = [sys.executable, "-c", PARENT], {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith(b"unix:")
        (child,) = psutil.Process(parent.pid).children()
        parent.send_signal(number)
    assert psutil.wait_procs([child], timeout=20)[1] == []


def test_child_that_cannot_start_is_shown_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNING_DEVICE", "abacus")
    with pytest.raises(UnavailableError, match=r"(?s)ended with status 2.*abacus"), embedded_server():
        pass


def test_child_that_is_killed_has_an_obituary() -> None:
    before = children()
    with embedded_server() as server:
        (child,) = children() - before
        assert server.exit_error() is None
        os.kill(child, signal.SIGKILL)
        assert "killed by signal 9" in str(first(server.exit_error))


def test_long_temporary_folder_is_not_used_for_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with embedded_server() as server:
        assert len(server.address) < 100
