"""What a wheel holds, and that the version is written in one place."""

import importlib.metadata
import zipfile
from pathlib import Path

import grpc
import pytest

from pruning_proto.v1.pruning_pb2 import GetCapabilitiesRequest, GetCapabilitiesResponse
from tests.repository.installed import PROJECT, Installation, build_wheel
from tests.repository.modules import FOLDERS
from tests.servers import ServerProcess

KERNELS = {f"pruning_engine/kernels/compiled/{name}.so" for name in ("kernels", "calibrated")}

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]  # the first time, environments are made


@pytest.fixture(scope="module")
def files(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


@pytest.mark.parametrize("package", FOLDERS)
def test_package_ships_its_types(files: list[str], package: str) -> None:
    assert f"{package}/py.typed" in files


def test_contract_is_shipped(files: list[str]) -> None:
    assert "pruning_proto/v1/pruning.proto" in files


def test_scripts_of_pages_are_shipped_with_their_licences(files: list[str]) -> None:
    names = ("d3.min.js", "plot.umd.min.js", "page.js", "page.css", "LICENSE-d3.txt", "LICENSE-plot.txt")
    assert {f"pruning_client/pages/assets/{name}" for name in names} <= set(files)


def test_nothing_but_the_four_packages_is_shipped(files: list[str]) -> None:
    tops = {file.partition("/")[0] for file in files}
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == set(FOLDERS)


def test_manual_page_is_shipped_where_man_looks(files: list[str]) -> None:
    assert [file.partition("/")[2] for file in files if ".data/" in file] == ["data/share/man/man1/prune.1"]


def test_kernels_are_compiled_into_the_wheel(files: list[str], wheel: Path) -> None:
    assert set(files) >= KERNELS
    assert "-py3-none-linux_" in wheel.name


@pytest.mark.parametrize("variable", ["NO_COMPILED_KERNELS", "CC"])
def test_wheel_is_built_without_a_compiler(tmp_path: Path, variable: str) -> None:
    wheel = build_wheel(tmp_path, **{variable: "no-such-compiler"})
    assert wheel.name.endswith("-py3-none-any.whl")
    assert KERNELS.isdisjoint(zipfile.ZipFile(wheel).namelist())


def test_wheel_and_metadata_have_the_version_of_the_project(wheel: Path) -> None:
    version = PROJECT["project"]["version"]
    assert wheel.name.startswith(f"pruning_service-{version}-")
    assert importlib.metadata.version("pruning-service") == version


def test_command_line_tells_the_version_of_the_project(client_alone: Installation) -> None:
    done = client_alone.run("-m", "pruning_client", "--version")
    assert done.stdout.split() == ["prune", PROJECT["project"]["version"]]


def test_server_tells_the_version_of_the_project(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        ask = channel.unary_unary(
            "/pruning.v1.PruningService/GetCapabilities",
            request_serializer=GetCapabilitiesRequest.SerializeToString,
            response_deserializer=GetCapabilitiesResponse.FromString,
        )
        assert ask(GetCapabilitiesRequest(), timeout=30).version == PROJECT["project"]["version"]
