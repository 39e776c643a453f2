"""Each setting is an option of `prune serve`, and its manual is generated."""

import subprocess
import sys

import pytest

from pruning_service.options import options_of, parse
from pruning_service.settings import Settings, option_of, read_settings
from scripts.settings_manual import MANUAL, with_table

TEXTS = {
    "listen": "127.0.0.1:1",
    "metrics_listen": "none",
    "health_listen": "127.0.0.1:2",
    "tls_certificate": "tls.crt",
    "tls_key": "tls.key",
    "tls_client_ca": "ca.crt",
    "token_file": "tokens",
    "device": "cuda:1",
    "kernels": "numpy",
    "log_level": "debug",
    "log_format": "json",
    "stores": "s3://models/base gs://results=alice",
    "store_endpoint": "https://store.example:9000",
    "executor": "ray",
    "ray_address": "ray://ray.example:10001",
    "traces": "otlp",
}
FLAGS = ("allow_plaintext", "allow_plaintext_tokens")
VALUED = [name for name in Settings.model_fields if name not in FLAGS]


@pytest.mark.parametrize("name", VALUED)
def test_option_sets_the_field_of_its_name(name: str) -> None:
    text = TEXTS.get(name, "7")
    for option in options_of(name):
        assert parse([option, text]) == ({name: text}, False)


@pytest.mark.parametrize("name", FLAGS)
def test_flag_sets_and_unsets_its_field(name: str) -> None:
    assert parse([option_of(name)])[0] == {name: "true"}
    assert parse([option_of(name).replace("--", "--no-")])[0] == {name: "false"}


def test_all_options_together_are_settings() -> None:
    settings = read_settings({}, **{name: TEXTS.get(name, "7") for name in VALUED})
    assert {name: str(value).removesuffix(".0") for name, value in settings if name in VALUED} == {
        name: TEXTS.get(name, "7") for name in VALUED
    }


@pytest.mark.parametrize("option", ["--listen", "--health-listen", "--metrics-listen", "--device", "--token-file"])
@pytest.mark.parametrize("spelled", [["{}=x"], ["{}", "x"]], ids=["one word", "two words"])
def test_option_takes_its_value_in_both_spellings(option: str, spelled: list[str]) -> None:
    assert list(parse([word.format(option) for word in spelled])[0].values()) == ["x"]


def test_certificate_keeps_its_short_option() -> None:
    assert parse(["--tls-cert", "tls.crt"])[0] == {"tls_certificate": "tls.crt"}


def test_invalid_option_ends_the_server_with_one_sentence() -> None:
    command = [sys.executable, "-m", "pruning_service", "--idle-seconds", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: --idle-seconds: PRUNING_IDLE_SECONDS must be at least 0.1, a finite number of seconds, got '0'\n",
    )


def test_manual_is_up_to_date() -> None:
    # If it is not: python -m scripts.settings_manual
    manual = MANUAL.read_text(encoding="utf-8")
    assert manual == with_table(manual)
