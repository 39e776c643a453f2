"""`prune run` and `prune scan` on URIs."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pruning_client.checkpoints.opened import open_source
from pruning_client.statistics.statistics import Statistics
from pruning_client.statistics.tensor import in_memory
from pruning_service.stores.store import Store
from pruning_service.stores.stores import Stores
from pruning_service.stores.uris import StoreUri
from tests.client.stored import tiny_models
from tests.client.stored.tiny_models import contents
from tests.seaweed import S3

L1 = ("--method", "l1_unstructured", "--amount", "0.5")


def prune(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)],
        env={name: text for name, text in os.environ.items() if not name.startswith("AWS_")} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_file_uri_is_a_path(tmp_path: Path) -> None:
    model = tiny_models.write_sharded(tmp_path / "model")
    assert prune("run", model, "-o", tmp_path / "a", *L1).returncode == 0
    done = prune("run", f"file://{model}", "-o", f"file://{tmp_path}/b", *L1)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


REFUSED = {
    "https://host/model": "scheme 'https'",
    "s3://host:9000/model": "hosts, ports and credentials come from the settings",
    "s3://bucket/a/../b": "`..`",
    "file://host/a": "three slashes",
}


@pytest.mark.parametrize(("uri", "message"), REFUSED.items(), ids=REFUSED)
def test_uri_of_no_store_is_refused(uri: str, message: str) -> None:
    done = prune("run", uri, "--plan", *L1)
    assert done.returncode == 2
    assert message in done.stderr


def test_server_does_not_open_what_this_process_would(tmp_path: Path) -> None:
    done = prune("run", "s3://bucket/model", "-o", tmp_path / "out", *L1, "--server", "localhost:1")
    assert done.returncode == 2
    assert "leave out --server" in done.stderr


@pytest.fixture
def store(s3_stores: Stores, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A place in a real S3 with a model."""
    store = s3_stores.open(StoreUri.parse(f"s3://checkpoints/{abs(hash(request.node.name)):x}"))
    for name, data in contents(tiny_models.write_sharded(tmp_path / "model")).items():
        store.put(f"model/{name}", data)
    return store


def stored(store: Store, key: str) -> Mapping[str, bytes]:
    return {found.key.removeprefix(f"{key}/"): store.get(found.key)[0] for found in store.list(key)}


@pytest.mark.integration
def test_folder_from_store_to_store(s3: S3, store: Store, tmp_path: Path) -> None:
    prune("run", tmp_path / "model", "-o", tmp_path / "local", *L1)
    done = prune("run", f"{store.uri}/model", "-o", f"{store.uri}/out", *L1, "--json", **s3.environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert stored(store, "out") == contents(tmp_path / "local")
    report = json.loads(done.stdout)
    assert (report["source"], report["out"]) == (f"{store.uri}/model", f"{store.uri}/out")
    assert report["not_copied"] == ["pytorch_model.bin"]
    assert sorted(found.key for found in store.list())[0].startswith("model/")  # nothing else stays


@pytest.mark.integration
def test_path_and_uri(s3: S3, store: Store, tmp_path: Path) -> None:
    assert prune("run", f"{store.uri}/model", "-o", tmp_path / "down", *L1, **s3.environment).returncode == 0
    assert prune("run", tmp_path / "model", "-o", f"{store.uri}/up", *L1, **s3.environment).returncode == 0
    assert contents(tmp_path / "down") == stored(store, "up")


@pytest.mark.integration
def test_target_that_is_there_is_left_alone(s3: S3, store: Store, tmp_path: Path) -> None:
    store.put("out/other", b"precious")
    before = stored(store, "")
    for target in ("out", "out/other", "model/config.json"):
        done = prune("run", f"{store.uri}/model", "-o", f"{store.uri}/{target}", *L1, **s3.environment)
        assert done.returncode == 2
        assert "is there already" in done.stderr
    assert stored(store, "") == before


@pytest.mark.integration
def test_object_is_replaced_by_force_only(s3: S3, store: Store) -> None:
    shard = f"{store.uri}/model/model-00001-of-00003.safetensors"
    store.put("out.safetensors", b"old")
    assert prune("run", shard, "-o", f"{store.uri}/out.safetensors", *L1, **s3.environment).returncode == 2
    assert store.get("out.safetensors")[0] == b"old"
    done = prune("run", shard, "-o", f"{store.uri}/out.safetensors", *L1, "--force", **s3.environment)
    assert done.returncode == 0
    assert store.find("out.safetensors").size > 3


@pytest.mark.integration
def test_target_of_a_run_under_way_is_refused(s3: S3, store: Store) -> None:
    store.create(".prune-out.part", b"{}")
    done = prune("run", f"{store.uri}/model", "-o", f"{store.uri}/out", *L1, **s3.environment)
    assert done.returncode == 2
    assert f"delete {store.uri}/.prune-out.part" in done.stderr
    assert stored(store, "out") == {}


@pytest.mark.integration
def test_plan_reads_no_weights(s3: S3, store: Store) -> None:
    done = prune("run", f"{store.uri}/model", "--plan", *L1, "--json", **s3.environment)
    assert json.loads(done.stdout)["tensors"]


@pytest.mark.integration
def test_dry_run_and_scan(s3: S3, store: Store) -> None:
    done = prune("run", f"{store.uri}/model", "--dry-run", *L1, "--json", **s3.environment)
    assert json.loads(done.stdout)["sparsity"] == 0.5
    scanned = prune("scan", f"{store.uri}/model", *L1, "--json", **s3.environment)
    assert json.loads(scanned.stdout)["tensors"][0]["curve"]


@pytest.mark.integration
def test_missing_source_is_named(s3: S3, store: Store) -> None:
    done = prune("run", f"{store.uri}/nothing", "--plan", *L1, **s3.environment)
    assert done.returncode == 2
    assert done.stderr == f"error: {store.uri}/nothing: there is no such object, and nothing below\n"


@pytest.mark.integration
def test_errors_name_the_object(s3: S3, store: Store) -> None:
    store.put("model/config.json", b"{")
    done = prune("run", f"{store.uri}/model", "--plan", *L1, **s3.environment)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {store.uri}/model/config.json: is not JSON")


def _statistics(path: Path, model: Path) -> Path:
    """Write norms of the inputs of all matrices of a model."""
    names = [entry.name for entry in open_source(model / "model.safetensors.index.json").layout.tensors]
    weights = [name for name in names if "proj" in name]
    width = {name: 32 if "down" in name else 16 for name in weights}
    tensors = {
        f"{name}:in_sum2": in_memory("F32", (width[name],), memoryview(bytes(4) + b"\0\0\x80?" * (width[name] - 1)))
        for name in weights
    }
    Statistics(kind="norms", tensors=tensors, model_type="llama").save(path)
    return path


@pytest.mark.integration
def test_statistics_from_store(s3: S3, store: Store, tmp_path: Path) -> None:
    statistics = _statistics(tmp_path / "s.safetensors", tmp_path / "model")
    store.put("s.safetensors", statistics.read_bytes())
    words = ("--method", "wanda", "--amount", "0.5")
    local = prune("run", tmp_path / "model", "-o", tmp_path / "local", *words, "--statistics", statistics)
    assert (local.returncode, local.stderr) == (0, "")
    stored_one = ("--statistics", f"{store.uri}/s.safetensors")
    done = prune("run", f"{store.uri}/model", "-o", f"{store.uri}/out", *words, *stored_one, **s3.environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert stored(store, "out") == contents(tmp_path / "local")
