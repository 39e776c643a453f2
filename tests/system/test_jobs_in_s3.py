"""Jobs in a real S3 store: the same as in a folder, and survived by the death of processes."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pruning_client import Client, Report, errors
from pruning_service.stores.stores import Stores, StoreSettings
from pruning_service.stores.uris import StoreUri
from tests.seaweed import BUCKET, S3
from tests.servers import ServerProcess, running_server
from tests.stores import s3
from tests.system import jobs as case

__all__ = ["s3"]

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Bucket:
    """A place in S3 with a model, and what a server needs for it."""

    s3: S3
    uri: str
    stores: Stores

    def settings(self, **others: str) -> dict[str, str]:
        return {
            "stores": self.uri,
            "store_endpoint": self.s3.endpoint,
            "lease_seconds": f"{case.LEASE_SECONDS}",
            "threads": "1",
            **others,
        }

    def content(self, name: str) -> dict[str, bytes]:
        store = self.stores.open(StoreUri.parse(f"{self.uri}/{name}"))
        return {found.key: store.get(found.key)[0] for found in store.list()}


@pytest.fixture
def bucket(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name, text in s3.environment.items():
        monkeypatch.setenv(name, text)
    uri = f"s3://{BUCKET}/{secrets.token_hex(8)}"
    case.model(tmp_path / "in")
    with Stores(StoreSettings(endpoint=s3.endpoint)) as stores:
        store = stores.open(StoreUri.parse(f"{uri}/in"))
        for name, content in case.content(tmp_path / "in").items():
            store.put(name, content)
        yield Bucket(s3, uri, stores)


@pytest.fixture
def in_a_folder(tmp_path: Path) -> dict[str, bytes]:
    """The result of the same job from a folder into a folder."""
    with running_server(**case.settings(tmp_path)) as server, Client(server.address) as client:
        assert isinstance(case.ended(case.begun(client, tmp_path, "expected")), Report)
    return case.content(tmp_path / "expected")


def begun(client: Client, bucket: Bucket, name: str) -> None:
    client.prune_checkpoint(f"{bucket.uri}/in", f"{bucket.uri}/{name}", case.GLOBAL_HALF, name=name)


def test_a_job_has_the_bytes_of_a_folder(bucket: Bucket, in_a_folder: dict[str, bytes]) -> None:
    with running_server(**bucket.settings()) as server, Client(server.address) as client:
        begun(client, bucket, "out")
        assert isinstance(case.ended(client.job("out")), Report)
        assert client.capabilities().jobs is not None

    assert bucket.content("out") == in_a_folder


def test_a_job_survives_its_worker_and_its_server(bucket: Bucket, in_a_folder: dict[str, bytes]) -> None:
    with running_server(**bucket.settings()) as first:
        with Client(first.address) as client:
            begun(client, bucket, "out")
        kill_worker(first)
        assert case.wait_for(lambda: case.workers_of(first) != [])
        first.process.kill()
        first.process.wait()
    with running_server(**bucket.settings()) as second, Client(second.address) as client:
        job = client.job("out")
        assert isinstance(case.ended(job), Report)

    assert job.status.attempt > 1
    assert bucket.content("out") == in_a_folder


def test_a_cancelled_job_leaves_nothing(bucket: Bucket) -> None:
    with running_server(**bucket.settings()) as server, Client(server.address) as client:
        begun(client, bucket, "out")
        job = client.job("out")
        assert case.wait_for(lambda: case.workers_of(server) != [])
        job.cancel()
        error = case.ended(job)

    assert isinstance(error, errors.JobError)
    assert error.reason == "JOB_CANCELLED"
    assert bucket.content("out") == {}


def test_a_job_in_a_bucket_that_is_not_there_is_refused(bucket: Bucket) -> None:
    with (
        running_server(**bucket.settings(stores="s3://no-such-bucket")) as server,
        Client(server.address) as client,
        pytest.raises(errors.StorageError) as refused,
    ):
        client.prune_checkpoint("s3://no-such-bucket/in", "s3://no-such-bucket/out", case.GLOBAL_HALF, timeout=20)

    assert refused.value.reason in ("STORE_UNAVAILABLE", "STORE_ACCESS_DENIED", "SOURCE_NOT_FOUND")


def kill_worker(server: ServerProcess) -> None:
    assert case.wait_for(lambda: case.workers_of(server) != [])
    for worker in case.workers_of(server):
        worker.kill()
        worker.wait()
