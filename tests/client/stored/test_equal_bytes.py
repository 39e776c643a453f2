"""What is pruned by reference is what is pruned on the disk: the same bytes in every file, and the same report."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pruning_client import Recipe, Rule, rules
from pruning_client.huggingface.folder import FolderOptions, prune_folder
from pruning_client.local.client import LocalClient
from pruning_client.results.output_format import Compression, Output
from pruning_client.results.report import Report
from pruning_client.stored.prune import StoredRun, prune_stored
from pruning_proto.safetensors.header import build
from pruning_service.stores.store import Store
from pruning_service.stores.stores import Stores, StoreSettings
from tests.client.stored import tiny_models
from tests.client.stored.tiny_models import contents


@pytest.fixture
def stores(store: Store, request: pytest.FixtureRequest) -> Iterator[Stores]:
    """What opens the places of `store`."""
    endpoint = request.getfixturevalue("s3").endpoint if store.uri.scheme == "s3" else ""
    with Stores(StoreSettings(endpoint=endpoint)) as stores:
        yield stores


@pytest.fixture
def client() -> Iterator[LocalClient]:
    with LocalClient() as client:
        yield client


def put_folder(store: Store, folder: Path, key: str) -> None:
    for name, data in contents(folder).items():
        store.put(f"{key}/{name}", data)


def stored(store: Store, key: str) -> Mapping[str, bytes]:
    return {found.key.removeprefix(f"{key}/"): store.get(found.key)[0] for found in store.list(key)}


def stable(report: Report) -> Report:
    """A report without what differs from run to run."""
    return replace(report, seconds={}, request_id="")


RECIPES: Mapping[str, tuple[Rule, Output]] = {
    "l1": (rules.l1_unstructured(0.5), "pruned"),
    "global l1": (rules.l1_unstructured(0.5, scope="global"), "pruned"),
    "random": (rules.random_unstructured(0.5), "pruned"),
    "n of m": (rules.n_of_m(2, 4), "pruned"),
    "ln": (rules.ln_structured(0.5, n=2, dim=0), "pruned"),
    "removed channels": (rules.remove_units(0.5, map="llama_mlp", same_width=True), "removed"),
    "removed layers": (rules.drop_layers([1]), "removed"),
}


def _check_folder(
    write: Callable[[Path], Path],
    options: FolderOptions,
    client: LocalClient,
    stores: Stores,
    store: Store,
    tmp_path: Path,
) -> None:
    model = write(tmp_path / "model")
    put_folder(store, model, "model")
    report = prune_folder(
        client,
        model,
        tmp_path / "local",
        options.recipe,
        output=options.output,
        digests=options.digests,
        max_shard_bytes=options.max_shard_bytes,
    )
    run = StoredRun(source=store.uri.child("model"), target=store.uri.child("out"), options=options)
    assert stable(prune_stored(client, stores, run)) == stable(report)
    assert stored(store, "out") == contents(tmp_path / "local")


@pytest.mark.parametrize("write", [tiny_models.write_single, tiny_models.write_sharded], ids=["one file", "shards"])
@pytest.mark.parametrize("name", RECIPES)
def test_folder(
    name: str, write: Callable[[Path], Path], client: LocalClient, stores: Stores, store: Store, tmp_path: Path
) -> None:
    rule, output = RECIPES[name]
    options = FolderOptions(recipe=Recipe([rule], seed=7), output=output)
    _check_folder(write, options, client, stores, store, tmp_path)


def test_folder_with_digests(client: LocalClient, stores: Stores, store: Store, tmp_path: Path) -> None:
    options = FolderOptions(recipe=Recipe([rules.l1_unstructured(0.5)]), output="pruned", digests=True)
    _check_folder(tiny_models.write_sharded, options, client, stores, store, tmp_path)


def test_folder_in_new_shards(client: LocalClient, stores: Stores, store: Store, tmp_path: Path) -> None:
    options = FolderOptions(recipe=Recipe([rules.l1_unstructured(0.5)]), output="pruned", max_shard_bytes=5_000)
    _check_folder(tiny_models.write_single, options, client, stores, store, tmp_path)


@pytest.mark.parametrize(
    ("output", "compression"),
    [("pruned", None), ("packed", None), ("packed", "zstd"), ("mask", None), ("masked", None)],
)
def test_file(
    output: Output, compression: Compression | None, client: LocalClient, stores: Stores, store: Store, tmp_path: Path
) -> None:
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    source.write_bytes(tiny_models.file_of(tiny_models.tensors()))
    store.put("a.safetensors", source.read_bytes())
    recipe = Recipe([rules.l1_unstructured(0.5, scope="global")])
    report = client.prune_file(source, target, recipe, output=output, compression=compression)
    run = StoredRun(
        source=store.uri.child("a.safetensors"),
        target=store.uri.child("deep/b.safetensors"),
        options=FolderOptions(recipe=recipe, output=output),
        compression=compression,
    )
    assert stable(prune_stored(client, stores, run)) == stable(report)
    assert store.get("deep/b.safetensors")[0] == target.read_bytes()


def test_index_of_shards(client: LocalClient, stores: Stores, store: Store, tmp_path: Path) -> None:
    model, target = tiny_models.write_sharded(tmp_path / "model"), tmp_path / "b.safetensors"
    put_folder(store, model, "model")
    recipe = Recipe([rules.l1_unstructured(0.5, scope="global")])
    client.prune_file(model / "model.safetensors.index.json", target, recipe)
    run = StoredRun(
        source=store.uri.child("model/model.safetensors.index.json"),
        target=store.uri.child("b.safetensors"),
        options=FolderOptions(recipe=recipe, output="pruned"),
    )
    prune_stored(client, stores, run)
    assert store.get("b.safetensors")[0] == target.read_bytes()


def test_packed_file_is_read(client: LocalClient, stores: Stores, store: Store, tmp_path: Path) -> None:
    source, packed, target = (tmp_path / f"{name}.safetensors" for name in ("a", "packed", "b"))
    source.write_bytes(tiny_models.file_of(tiny_models.tensors()))
    client.prune_file(source, packed, rules.l1_unstructured(0.5), output="packed")
    store.put("packed.safetensors", packed.read_bytes())
    recipe = Recipe([rules.l1_unstructured(0.8)])
    client.prune_file(packed, target, recipe)
    run = StoredRun(
        source=store.uri.child("packed.safetensors"),
        target=store.uri.child("b.safetensors"),
        options=FolderOptions(recipe=recipe, output="pruned"),
    )
    prune_stored(client, stores, run)
    assert store.get("b.safetensors")[0] == target.read_bytes()


def test_global_rule_in_little_memory(
    stores: Stores, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit into memory is read several times, by ranges."""
    described = [(f"layers.{at}.weight", "F32", (2048, 1024)) for at in range(24)]
    header, layout = build(described, {})
    entries = np.random.default_rng(0).standard_normal(layout.buffer_bytes // 4, np.float32)
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    source.write_bytes(header + entries.tobytes())
    with store.writer("a.safetensors", layout.total_bytes) as writer:
        writer.write(source.read_bytes())
        writer.complete()
    recipe = Recipe([rules.l1_unstructured(0.5, scope="global")])
    with LocalClient() as client:
        client.prune_file(source, target, recipe)
    monkeypatch.setenv("PRUNING_MEMORY_BYTES", str(100 << 20))
    before = stores.traffic.counts().get((store.uri.scheme, "read_bytes"), 0)
    run = StoredRun(
        source=store.uri.child("a.safetensors"),
        target=store.uri.child("b.safetensors"),
        options=FolderOptions(recipe=recipe, output="pruned"),
    )
    with LocalClient() as client:
        prune_stored(client, stores, run)
    read_bytes = stores.traffic.counts()[store.uri.scheme, "read_bytes"] - before
    assert 2 * layout.total_bytes < read_bytes < 3.5 * layout.total_bytes
    found = store.find("b.safetensors")
    result = bytearray(found.size)
    store.read_into(found, 0, memoryview(result))
    assert result == target.read_bytes()
