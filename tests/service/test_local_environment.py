"""A local run reads the settings that concern it, and imports pydantic only if there are any."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pruning_proto.limits import HEADER_BYTES_CEILING
from pruning_service.local_environment import read_local_settings
from pruning_service.local_settings import SettingsError, default_memory_bytes
from pruning_service.settings import Settings

PRINT_PYDANTIC = """
import sys
from pruning_service.local_environment import read_local_settings
read_local_settings({"HOME": "/"})
print([name for name in sys.modules if name.startswith("pydantic")])
"""


def test_without_variables_they_are_those_of_a_server_but_for_header_and_disk() -> None:
    settings, servers = read_local_settings({}), Settings().local
    assert settings.header_bytes == HEADER_BYTES_CEILING
    assert settings.spool_bytes > servers.spool_bytes
    assert servers == replace(
        settings,
        header_bytes=servers.header_bytes,
        max_tensors=servers.max_tensors,
        spool_bytes=servers.spool_bytes,
    )


def test_variables_limit_the_disk(tmp_path: Path) -> None:
    settings = read_local_settings({"PRUNING_SPOOL_DIR": str(tmp_path), "PRUNING_SPOOL_BYTES": "1000"})
    assert (settings.spool_dir, settings.spool_bytes) == (tmp_path, 1000)
    assert read_local_settings({"PRUNING_THREADS": "1"}).spool_bytes == read_local_settings({}).spool_bytes


def test_variable_limits_the_header() -> None:
    settings = read_local_settings({"PRUNING_HEADER_BYTES": "1000", "PRUNING_MAX_TENSORS": "7"})
    assert (settings.header_bytes, settings.max_tensors) == (1000, 7)


def test_no_header_of_the_format_has_too_many_tensors() -> None:
    shortest = b'"":{"dtype":"U8","shape":[],"data_offsets":[0,1]},'
    assert read_local_settings({}).max_tensors * len(shortest) >= HEADER_BYTES_CEILING


def test_without_variables_pydantic_is_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", PRINT_PYDANTIC], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_variables_set_them() -> None:
    settings = read_local_settings({"PRUNING_THREADS": "3", "PRUNING_DEVICE": "cpu"})
    assert settings == replace(read_local_settings({}), threads=3, device="cpu", memory_bytes=default_memory_bytes())


def test_executor_of_jobs_is_the_one_of_a_server() -> None:
    settings = read_local_settings({"PRUNING_EXECUTOR": "ray", "PRUNING_RAY_ADDRESS": "127.0.0.1:6379"})
    assert (settings.executor, settings.ray_address) == ("ray", "127.0.0.1:6379")


@pytest.mark.parametrize(
    "variable", ["PRUNING_LISTEN", "PRUNING_HEALTH_LISTEN", "PRUNING_TLS_KEY", "PRUNING_TOKEN_FILE"]
)
def test_ports_and_their_protection_are_ignored(variable: str) -> None:
    assert read_local_settings({variable: "nonsense"}) == read_local_settings({})


@pytest.mark.parametrize(("variable", "text"), [("PRUNING_MEMORY_BYTES", "0"), ("PRUNING_TREADS", "3")])
def test_invalid_variable_is_refused_as_by_a_server(variable: str, text: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        read_local_settings({variable: text})
