"""Settings are read once, checked, and documented."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from pruning_service.config import PREFIX, Settings, SettingsError, read_settings

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

    assert documented == [PREFIX + field.name.upper() for field in fields(Settings)]
