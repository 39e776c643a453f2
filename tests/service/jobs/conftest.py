"""Places with stores of both kinds, for the tests of jobs."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from pruning_service.stores.stores import Stores
from pruning_service.stores.uris import StoreUri
from tests.seaweed import BUCKET
from tests.service.jobs.stored import Place
from tests.stores import s3, s3_stores

__all__ = ["s3", "s3_stores"]


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.integration)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty place of each kind of store."""
    if request.param == "s3":
        stores = request.getfixturevalue("s3_stores")
        yield Place(stores, StoreUri.parse(f"s3://{BUCKET}/{secrets.token_hex(8)}"))
        return
    with Stores() as opened:
        yield Place(opened, StoreUri.parse(f"file://{tmp_path}"))
