"""Settings are read once, checked, and documented."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from pruning_client import Client
from pruning_service.local_settings import PREFIX, SettingsError
from pruning_service.settings import Settings, read_settings, variable_of
from tests.servers import running_server
from tests.service.raw import f32, file, prune

TLS = {"PRUNING_TLS_CERTIFICATE": "pem", "PRUNING_TLS_KEY": "key"}
MANUAL = Path(__file__).parents[2] / "docs" / "settings.md"


def test_without_variables_everything_has_a_default() -> None:
    assert read_settings({}) == Settings()


def test_a_variable_sets_the_field_of_its_name() -> None:
    settings = read_settings({"PRUNING_MEMORY_BYTES": "1000", "PRUNING_QUEUE_SECONDS": "0.5", "HOME": "/"})

    assert (settings.memory_bytes, settings.queue_seconds) == (1000, 0.5)


def test_an_option_wins_over_its_variable() -> None:
    assert read_settings({"PRUNING_LISTEN": "127.0.0.1:1"}, listen="127.0.0.1:2").listen == "127.0.0.1:2"


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PRUNING_MEMORY_BYTES", "0"),
        ("PRUNING_MEMORY_BYTES", "1.5"),
        ("PRUNING_THREADS", "-1"),
        ("PRUNING_DRAIN_SECONDS", "inf"),
        ("PRUNING_LOG_LEVEL", "loud"),
        ("PRUNING_NEW", "1"),
    ],
)
def test_nonsense_is_refused_by_its_variable(variable: str, text: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        read_settings({variable: text})


SECONDS = "a finite number of seconds"


NUMBERS = [name for name, field in Settings.model_fields.items() if field.annotation in (int, float)]


def most(name: str) -> str:
    """Return the largest value of a number."""
    (bound,) = [bound.le for bound in Settings.model_fields[name].metadata if hasattr(bound, "le")]
    return str(bound)


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_a_largest_value(name: str) -> None:
    assert read_settings({variable_of(name): most(name)})
    with pytest.raises(SettingsError, match=f"^{variable_of(name)} must be "):
        read_settings({variable_of(name): str(int(most(name)) + 1)})


def test_server_starts_and_works_with_the_largest_values() -> None:
    with running_server(**{name: most(name) for name in NUMBERS}) as server:
        with Client(server.address) as client:
            assert client.capabilities().limits.calls == 2**31 - 1
        assert prune(server.address, file({"a.weight": ("F32", [2, 2], f32(4, -1, 3, -2))})).report
        assert server.stop() == 0
    assert "Traceback" not in "".join(server.log)


@pytest.mark.parametrize("listen", ["a" * 64 + ".example:1", "\N{SNOWMAN}:1", "256.256.256.256:1"])
@pytest.mark.parametrize("option", ["--listen", "--metrics-listen", "--health-listen"])
def test_impossible_host_is_an_error_sentence(option: str, listen: str) -> None:
    command = [sys.executable, "-m", "pruning_service", "--listen", "127.0.0.1:0", "--metrics-listen", "none"]
    command += [option, listen, "--allow-plaintext"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("PRUNING_IDLE_SECONDS", "0"), f"must be at least 0.1, {SECONDS}"),
        (("PRUNING_QUEUE_SECONDS", "nan"), f"must be {SECONDS}, at least 0"),
        (("PRUNING_CONNECTION_AGE_SECONDS", "1e7"), f"must be at most 2,000,000, {SECONDS}"),
        (
            ("PRUNING_HEADER_BYTES", "100000001"),
            "must be 1 to 100,000,000 (the format's own limit), a whole number of bytes",
        ),
        (("PRUNING_MEMORY_BYTES", "8GiB"), "must be a whole number of bytes, at least 1"),
        (("PRUNING_LISTEN", "here"), "must be host:port, with a port of 0 to 65535, or unix:/path"),
        (("PRUNING_METRICS_LISTEN", "here"), "must be host:port, with a port of 0 to 65535, or none"),
        (("PRUNING_DEVICE", "tpu"), "is auto, cpu, cuda or cuda:<number>"),
        (("PRUNING_EXECUTOR", "slurm"), "is local or ray"),
        (("PRUNING_RAY_ADDRESS", "ray.example"), "must be host:port or ray://host:port"),
        (("PRUNING_LOG_LEVEL", "loud"), "is debug, info, warning or error"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_refusal_names_the_variable_its_value_and_what_is_allowed(given: tuple[str, str], message: str) -> None:
    variable, text = given
    with pytest.raises(SettingsError) as caught:
        read_settings({variable: text})

    assert str(caught.value) == f"{variable} {message}, got {text!r}"


def test_refusal_names_the_option_that_overrides_a_variable() -> None:
    with pytest.raises(
        SettingsError, match=r"^--idle-seconds: PRUNING_IDLE_SECONDS must be at least 0\.1, .*, got '-1'$"
    ):
        read_settings({"PRUNING_IDLE_SECONDS": "0"}, idle_seconds="-1")


@pytest.mark.parametrize("name", ["queue_seconds", "drain_seconds", "min_bytes_per_second", "connection_age_seconds"])
def test_zero_is_allowed_where_the_manual_says_what_it_means(name: str) -> None:
    assert getattr(read_settings({variable_of(name): "0"}), name) == 0
    assert " 0: " in str(Settings.model_fields[name].description)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().listen = "127.0.0.1:1"


def test_constructing_settings_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNING_THREADS", "77")

    assert Settings().threads != 77


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.8.0.1:1", "localhost:1", "LocalHost:1", "[::1]:1", "unix:/s"])
def test_it_speaks_in_the_clear_where_nobody_else_can_listen(listen: str) -> None:
    assert not read_settings({"PRUNING_LISTEN": listen}).is_tls


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "gpu-box:1", "localhost.example:1"])
def test_it_does_not_speak_in_the_clear_elsewhere_unless_it_is_told_to(listen: str) -> None:
    with pytest.raises(SettingsError, match=r"set PRUNING_TLS_CERTIFICATE.*or, .*PRUNING_ALLOW_PLAINTEXT=true"):
        read_settings({"PRUNING_LISTEN": listen})

    assert read_settings({"PRUNING_LISTEN": listen, "PRUNING_ALLOW_PLAINTEXT": "true"}).listen == listen
    assert read_settings({"PRUNING_LISTEN": listen, **TLS}).is_tls


def test_tokens_do_not_travel_in_the_clear_unless_that_is_said_too() -> None:
    given = {"PRUNING_LISTEN": "0.0.0.0:1", "PRUNING_TOKEN_FILE": "tokens", "PRUNING_ALLOW_PLAINTEXT": "true"}
    with pytest.raises(SettingsError, match="PRUNING_ALLOW_PLAINTEXT_TOKENS=true"):
        read_settings(given)

    assert read_settings(given | {"PRUNING_ALLOW_PLAINTEXT_TOKENS": "true"}).token_file == Path("tokens")


@pytest.mark.parametrize("variable", ["PRUNING_METRICS_LISTEN", "PRUNING_HEALTH_LISTEN"])
def test_ports_that_tell_no_secret_may_be_in_the_clear_anywhere(variable: str) -> None:
    assert "0.0.0.0:1" in repr(read_settings({variable: "0.0.0.0:1"}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"PRUNING_TLS_KEY": "key"}, "PRUNING_TLS_KEY is set without PRUNING_TLS_CERTIFICATE"),
        ({"PRUNING_TLS_CERTIFICATE": "pem"}, "PRUNING_TLS_CERTIFICATE is set without PRUNING_TLS_KEY"),
        ({"PRUNING_TLS_CLIENT_CA": "ca"}, "PRUNING_TLS_CLIENT_CA is set without TLS"),
        ({"PRUNING_ALLOW_PLAINTEXT": "yes"}, "PRUNING_ALLOW_PLAINTEXT must be true or false, got 'yes'"),
        ({"PRUNING_HEALTH_LISTEN": "nowhere"}, "PRUNING_HEALTH_LISTEN must be host:port"),
        ({"PRUNING_MAX_CALLS": "0"}, "PRUNING_MAX_CALLS must be at least 1"),
    ],
)
def test_half_a_protection_is_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_settings(given)


def test_key_in_place_of_its_path_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="PRUNING_TLS_KEY must be the path of a file") as caught:
        read_settings({"PRUNING_TLS_KEY": "-----BEGIN PRIVATE KEY-----s3cret"})

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("variable", ["PRUNING_TOKEN_FILE", "PRUNING_TLS_CLIENT_CA"])
def test_empty_file_setting_is_refused(variable: str) -> None:
    """It is a variable that somebody forgot to fill in, and would let everybody in."""
    with pytest.raises(SettingsError, match=f"{variable} must be the path of a file, got ''"):
        read_settings({variable: "", **TLS})


@pytest.mark.parametrize(
    "variable",
    [
        "PRUNING_SERVICE_HOST",
        "PRUNING_SERVICE_PORT_GRPC",
        "PRUNING_PORT",
        "PRUNING_PORT_50051_TCP_ADDR",
        "PRUNING_SERVER_SERVICE_HOST",
        "PRUNING_SERVER_PORT_50051_TCP",
    ],
)
def test_what_kubernetes_tells_of_a_service_is_no_setting(variable: str) -> None:
    assert read_settings({variable: "tcp://10.0.0.1:50051"}) == Settings()


def test_the_manual_has_every_setting_and_no_other() -> None:
    documented = re.findall(r"^\| `(PRUNING_\w+)` \|", MANUAL.read_text(encoding="utf-8"), re.MULTILINE)

    assert documented == [PREFIX + name.upper() for name in Settings.model_fields]
