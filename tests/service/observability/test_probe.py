"""The probe that container engines without gRPC probes run beside the server."""

import os
import subprocess
import sys

from tests.servers import running_server

NOBODY_LISTENS = "127.0.0.1:1"


def probe(listen: str | None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PRUNING_")}
    environment |= {} if listen is None else {"PRUNING_HEALTH_LISTEN": listen}
    command = [sys.executable, "-m", "pruning_service.probe"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_server_that_serves_is_healthy() -> None:
    with running_server(health_listen="127.0.0.1:0") as server:
        done = probe(server.health_address)
    assert (done.returncode, done.stderr) == (0, "")


def test_server_that_does_not_answer_is_not() -> None:
    done = probe(NOBODY_LISTENS)
    assert done.returncode == 1
    assert done.stderr.startswith(f"no answer from {NOBODY_LISTENS}: UNAVAILABLE")


def test_without_a_health_port_it_says_what_to_set() -> None:
    done = probe(None)
    assert (done.returncode, done.stderr) == (
        2,
        "error: this server has no health port: set PRUNING_HEALTH_LISTEN\n",
    )


def test_address_that_makes_no_sense_is_refused() -> None:
    done = probe("nowhere")
    assert done.returncode == 2
    assert "PRUNING_HEALTH_LISTEN must be host:port" in done.stderr
