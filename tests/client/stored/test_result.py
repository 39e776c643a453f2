"""The order in which a result gets visible, and what is left of one that fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pruning_client import Recipe, rules
from pruning_client.huggingface.folder import FolderOptions, completed_recipe, prune_model
from pruning_client.local.client import LocalClient
from pruning_client.stored.claim import claimed
from pruning_client.stored.opening import new_folder, new_object
from pruning_client.stored.result import StoredResult
from pruning_client.stored.source import open_stored
from pruning_service.stores.errors import ExistsError, ObjectMissingError
from pruning_service.stores.store import Store
from pruning_service.stores.stores import Stores
from pruning_service.stores.uris import StoreUri
from tests.client.stored import tiny_models
from tests.client.stored.tiny_models import contents

OPTIONS = FolderOptions(recipe=Recipe([rules.l1_unstructured(0.5)]), output="pruned")


@pytest.fixture
def stores() -> Iterator[Stores]:
    with Stores() as stores:
        yield stores


@pytest.fixture
def place(tmp_path: Path) -> StoreUri:
    """A place with a model in shards."""
    tiny_models.write_sharded(tmp_path / "store" / "model")
    return StoreUri.parse(f"file://{tmp_path}/store")


def visible(store: Store) -> list[str]:
    return sorted(found.key for found in store.list())


def prune(stores: Stores, place: StoreUri, result: StoredResult) -> None:
    with LocalClient() as client, open_stored(stores, place.child("model")) as model:
        prune_model(client, model, result, OPTIONS)


def test_what_loaders_begin_with_is_put_last(stores: Stores, place: StoreUri) -> None:
    store = stores.open(place.child("out"))
    seen: list[list[str]] = []
    prune(stores, place, StoredResult(store, check=lambda: seen.append(visible(store))))
    order = [(set(after) - set(before)).pop() for before, after in zip(seen, [*seen[1:], visible(store)], strict=True)]
    assert order[:3] == [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    assert order[-2:] == ["model.safetensors.index.json", "config.json"]
    assert len(order) == len(visible(store))


class _LostError(Exception):
    """What a check raises."""


@pytest.mark.parametrize("checks", [1, 3, 5, 8])
def test_nothing_stays_of_a_run_that_fails(checks: int, stores: Stores, place: StoreUri) -> None:
    store = stores.open(place.child("out"))
    left = [checks]

    def check() -> None:
        left[0] -= 1
        if not left[0]:
            raise _LostError

    with pytest.raises(_LostError):
        prune(stores, place, StoredResult(store, check=check))
    assert visible(store) == []


def test_target_that_is_there_is_refused(stores: Stores, place: StoreUri) -> None:
    before = contents(Path("/") / place.path)
    with pytest.raises(ExistsError, match="it has"):
        new_folder(stores, place.child("model"))
    with pytest.raises(ExistsError, match="is there already"):
        new_folder(stores, place.child("model/config.json"))
    with pytest.raises(ExistsError, match="is there already"):
        new_object(stores, place.child("model/config.json"))
    assert contents(Path("/") / place.path) == before


def test_one_of_two_runs_has_a_target(stores: Stores, place: StoreUri) -> None:
    store = stores.open(place)
    with claimed(store, "out"), pytest.raises(ExistsError, match="another run writes to it"), claimed(store, "out"):
        pass
    with claimed(store, "out"):  # again, once the first is over
        pass


@pytest.mark.parametrize("name", ["nothing", "model/nothing.safetensors"])
def test_missing_source(name: str, stores: Stores, place: StoreUri) -> None:
    with pytest.raises(ObjectMissingError, match=name), open_stored(stores, place.child(name)):
        pass


def test_small_files_are_fetched_and_weights_are_not(stores: Stores, place: StoreUri) -> None:
    with open_stored(stores, place.child("model")) as model:
        assert completed_recipe(model.path, OPTIONS.recipe)
        sizes = {path.name: path.stat().st_size for path in model.path.iterdir() if path.is_file()}
        folder = model.path
    assert sizes["config.json"] > 0
    assert sizes["pytorch_model.bin"] == sizes["model-00001-of-00003.safetensors"] == 0
    assert not folder.exists()


@pytest.mark.parametrize("key", ["a/../b", "a//b"])
def test_key_that_no_file_has_is_refused(key: str, stores: Stores, place: StoreUri) -> None:
    with pytest.raises(ValueError, match="in its path"):
        stores.open(place).put(key, b"x")
