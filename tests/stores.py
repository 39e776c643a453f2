"""Fixtures: one S3 server for all tests of a process, and the two kinds of stores that tests of them are run on."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from pruning_service.stores.store import Store
from pruning_service.stores.stores import Stores, StoreSettings
from pruning_service.stores.uris import StoreUri
from tests.azurite.running import CONTAINER, Azure, running_azure
from tests.seaweed import BUCKET, S3, running_s3


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    with running_s3() as running:
        yield running


@pytest.fixture
def s3_stores(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    for name, text in s3.environment.items():
        monkeypatch.setenv(name, text)
    with Stores(StoreSettings(endpoint=s3.endpoint)) as stores:
        yield stores


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    with running_azure(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture
def azure_stores(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    for name, text in azure.environment.items():
        monkeypatch.setenv(name, text)
    with Stores() as stores:
        yield stores


_REMOTE = {"s3": ("s3_stores", BUCKET), "az": ("azure_stores", CONTAINER)}


@pytest.fixture(params=["file", *(pytest.param(name, marks=pytest.mark.integration) for name in _REMOTE)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Return an empty store of each kind."""
    if request.param in _REMOTE:
        fixture, bucket = _REMOTE[request.param]
        stores = request.getfixturevalue(fixture)
        yield stores.open(StoreUri.parse(f"{request.param}://{bucket}/{secrets.token_hex(8)}"))
        return
    with Stores() as stores:
        yield stores.open(StoreUri.parse(f"file://{tmp_path}/store"))
