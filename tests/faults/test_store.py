"""The object store answers 503 for a while: a job under way finishes, and what cannot wait is refused by its reason."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from pruning_client import Client, Report, errors
from pruning_service.stores.stores import Stores, StoreSettings
from pruning_service.stores.uris import StoreUri
from tests.campaigns.observed import gauge
from tests.faults.limits import check_at_rest
from tests.faulty_proxy import Fault, FaultyProxy, faulty_proxy
from tests.seaweed import BUCKET, S3
from tests.servers import ServerProcess, running_server
from tests.service.raw import wait_until
from tests.stores import s3
from tests.system import jobs

__all__ = ["s3"]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SEEN_REFUSALS = 40
"""Requests that are refused before the store answers again: more than one request is tried."""


@pytest.fixture
def proxy(s3: S3) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.address) as proxy:
        yield proxy


@pytest.fixture
def place(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place with a model in it."""
    for name, text in s3.environment.items():
        monkeypatch.setenv(name, text)
    uri = f"s3://{BUCKET}/{secrets.token_hex(8)}"
    with Stores(StoreSettings(endpoint=s3.endpoint)) as stores:
        store = stores.open(StoreUri.parse(f"{uri}/in"))
        for name, content in jobs.content(jobs.model(tmp_path / "in")).items():
            store.put(name, content)
    return uri


@pytest.fixture
def server(proxy: FaultyProxy, place: str) -> Iterator[ServerProcess]:
    settings = {"stores": place, "store_endpoint": proxy.endpoint, "threads": "1", "lease_seconds": "5"}
    with running_server(**settings) as server:
        yield server


def test_job_under_way_finishes(server: ServerProcess, proxy: FaultyProxy, place: str, s3: S3) -> None:
    with Client(server.address) as client:
        for name in ("undisturbed", "job"):
            job = client.prune_checkpoint(f"{place}/in", f"{place}/{name}", jobs.GLOBAL_HALF, name=name)
            if name == "job":
                assert jobs.wait_for(lambda: bool(jobs.workers_of(server)))
                refused_from_now_on(proxy)
            assert isinstance(jobs.ended(job), Report)
    assert len(proxy.faults) >= SEEN_REFUSALS
    assert content(s3, f"{place}/job") == content(s3, f"{place}/undisturbed")
    assert wait_until(lambda: gauge(server, "pruning_jobs_running") == 0)
    check_at_rest(server)


def refused_from_now_on(proxy: FaultyProxy) -> None:
    """Have everything refused until that was seen often enough."""
    proxy.choose = lambda *_: Fault.REFUSED if len(proxy.faults) < SEEN_REFUSALS else None


def test_request_of_a_job_is_refused(server: ServerProcess, proxy: FaultyProxy, place: str) -> None:
    proxy.choose = lambda *_: Fault.REFUSED
    with Client(server.address, retries=0) as client:
        with pytest.raises(errors.StorageError) as refused:
            client.prune_checkpoint(f"{place}/in", f"{place}/out", jobs.GLOBAL_HALF, name="out", timeout=300)
        assert refused.value.reason == "STORE_UNAVAILABLE"
        check_at_rest(server)
        proxy.choose = lambda *_: None
        job = client.prune_checkpoint(f"{place}/in", f"{place}/out", jobs.GLOBAL_HALF, name="out")
        assert isinstance(jobs.ended(job), Report)


def content(s3: S3, uri: str) -> dict[str, bytes]:
    with Stores(StoreSettings(endpoint=s3.endpoint)) as stores:
        store = stores.open(StoreUri.parse(uri))
        return {found.key: store.get(found.key)[0] for found in store.list()}
