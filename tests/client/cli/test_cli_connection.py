"""The command line's options about a server: TLS, tokens, several servers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.certificates import SERVER_NAME, Certificates
from tests.client.peers import free_address, peer
from tests.client.tiny_files import weight, written

TOKEN = "s3cret-t0ken"  # noqa: S105 - opens nothing


def prune(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_server_is_reached_over_tls_with_a_certificate_and_a_token(certificates: Certificates, tmp_path: Path) -> None:
    token = written(tmp_path / "token", f"{TOKEN}\n".encode())
    mine = ("--tls-cert", certificates.client.certificate, "--tls-key", certificates.client.key)
    theirs = ("--tls-ca", certificates.ca, "--tls-server-name", SERVER_NAME)
    listening = certificates.credentials(certificates.named, asks_clients=True)
    with peer(credentials=listening, tokens=[TOKEN]) as address:
        done = prune("methods", "--server", address, *theirs, *mine, "--token-file", token)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("pruning server peer")


def test_several_servers_are_named_one_by_one() -> None:
    with peer() as address:
        done = prune("methods", "--server", free_address(), "--server", address)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("retries", "attempts"), [("0", 1), ("1", 2)])
def test_call_is_tried_again_as_often_as_asked(retries: str, attempts: int) -> None:
    done = prune("methods", "--server", free_address(), "--retries", retries, "--json")
    assert done.returncode == 1
    assert json.loads(done.stderr)["error"]["attempts"] == attempts


def test_tls_that_does_not_fit_is_said_in_a_line() -> None:
    with peer() as address:
        done = prune("methods", "--server", address, "--tls")
    assert (done.returncode, done.stdout) == (1, "")
    assert "speaks no TLS: leave TLS out (tls, --tls), or check the port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--tls"], "--tls: without --server no network is used", id="TLS for nobody"),
        pytest.param(["--retries", "9"], "--retries: without --server no network is used", id="retries at nobody"),
        pytest.param(["--retries", "-1"], "retries are a whole number, 0 for none; got '-1'", id="retries below 0"),
        pytest.param(["--token-file", "t"], "--token-file: without --server no network is used", id="token for nobody"),
        pytest.param(["--insecure"], "--insecure: without --server no network is used", id="plaintext to nobody"),
        pytest.param(["--server", "a:1"], "in plaintext, where others may read", id="plaintext"),
        pytest.param(["--server", "a:1", "--tls", "--insecure"], "leave out one of the two", id="TLS and plaintext"),
        pytest.param(["--server", "a:1", "--tls-cert", "c"], "a certificate without its key", id="no key"),
        pytest.param(["--server", "a:1", "--tls-ca", "none.pem"], "none.pem: No such file", id="no CA"),
        pytest.param(["--server", "a:1", "--tls-ca", __file__], "holds no certificate in PEM", id="no certificate"),
        pytest.param(["--server", "a:1", "--server", "b:1"], "--server: several addresses are IP addr", id="names"),
        pytest.param(["--server", "a:1", "--token-file", "none"], "none: No such file or directory", id="no file"),
        pytest.param(["--server", "a:1", "--token-file", __file__], "the token holds a space", id="no token"),
    ],
)
def test_options_that_make_no_sense_exit_with_2(options: list[str], message: str) -> None:
    done = prune("methods", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_token_in_the_clear_is_refused_and_not_shown(tmp_path: Path) -> None:
    file = written(tmp_path / "in.safetensors", weight(1, 2))
    token = written(tmp_path / "token", TOKEN.encode())
    rule = ("--method", "identity", "--dry-run")
    done = prune("run", file, *rule, "--server", "gpu-box:50051", "--token-file", token)
    assert (done.returncode, done.stdout) == (2, "")
    assert "a token goes over TLS only" in done.stderr
    assert TOKEN not in done.stderr


def test_insecure_sends_to_another_machine(tmp_path: Path) -> None:
    file = written(tmp_path / "in.safetensors", weight(1, 2))
    rule = ("--method", "identity", "--dry-run")
    done = prune("run", file, *rule, "--server", "no-such-host.invalid:50051", "--insecure", "--retries", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no host of this name" in done.stderr


def test_environment_names_the_server() -> None:
    with peer() as address:
        done = prune("methods", PRUNING_SERVER=address)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("pruning server peer")


def test_environment_names_several_servers() -> None:
    with peer() as address:
        assert prune("methods", PRUNING_SERVER=f"{free_address()} {address}").returncode == 0


def test_option_counts_more_than_the_environment() -> None:
    with peer() as address:
        assert prune("methods", "--server", address, PRUNING_SERVER=free_address()).returncode == 0


def test_empty_variable_names_no_server() -> None:
    done = prune("methods", PRUNING_SERVER="")
    assert (done.returncode, done.stderr) == (0, "")


def test_variable_that_is_no_address_is_named() -> None:
    done = prune("methods", PRUNING_SERVER="http://gpu-box")
    assert done.returncode == 2
    assert done.stderr.startswith("error: PRUNING_SERVER: a server's address is HOST:PORT")


@pytest.mark.parametrize(("name", "is_known"), [("PRUNING_SERVER", True), ("PRUNING_SERVERS", False)])
def test_server_ignores_the_variable_of_clients(name: str, is_known: bool) -> None:
    done = prune("serve", "--listen", "nowhere", **{name: "gpu-box:50051"})
    assert ("unknown settings" in done.stderr) is not is_known
