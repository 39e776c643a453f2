"""The wheel and its installations, made once a session."""

from pathlib import Path

import pytest

from scripts.environments import pinned
from tests.repository.installed import Installation, build_wheel, install_client

PROTOBUFS = {
    "protobuf-6": ["protobuf==6.31.1", "grpcio==1.76.0"],  # the oldest that the client declares
    "protobuf-7": [pinned("protobuf"), pinned("grpcio")],
}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session", params=PROTOBUFS)
def client_alone(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The client installed without extras: no torch and no numpy, with one protobuf after the other."""
    return install_client(wheel, PROTOBUFS[request.param], tmp_path_factory.mktemp(request.param))
