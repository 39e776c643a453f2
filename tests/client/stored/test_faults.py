"""What is pruned while a store or the network fails: the bytes of an undisturbed run, or an error and nothing else."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pruning_client import Recipe, rules
from pruning_client.huggingface.folder import FolderOptions, prune_folder
from pruning_client.local.client import LocalClient
from pruning_client.stored.opening import new_folder
from pruning_client.stored.prune import StoredRun, prune_stored
from pruning_client.stored.source import open_stored
from pruning_service.stores.errors import ExistsError, ObjectChangedError, StoreUnavailableError
from pruning_service.stores.store import Store
from pruning_service.stores.stores import Stores, StoreSettings
from pruning_service.stores.uris import StoreUri
from tests.client.stored import tiny_models
from tests.client.stored.tiny_models import contents
from tests.faulty_proxy import Fault, FaultyProxy, faulty_proxy
from tests.seaweed import S3

pytestmark = pytest.mark.integration

OPTIONS = FolderOptions(recipe=Recipe([rules.l1_unstructured(0.5, scope="global")]), output="pruned")


@pytest.fixture
def proxy(s3: S3) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.address) as proxy:
        yield proxy


@pytest.fixture
def stores(proxy: FaultyProxy) -> Iterator[Stores]:
    with Stores(StoreSettings(endpoint=proxy.endpoint, attempts=3)) as stores:
        yield stores


@pytest.fixture
def place(s3_stores: Stores, request: pytest.FixtureRequest) -> StoreUri:
    """A place with a model in it."""
    return StoreUri.parse(f"s3://checkpoints/{abs(hash(request.node.name)):x}")


@pytest.fixture
def direct(s3_stores: Stores, place: StoreUri, tmp_path: Path) -> Store:
    """The store of the place, without the proxy."""
    store = s3_stores.open(place)
    for name, data in contents(tiny_models.write_sharded(tmp_path / "model")).items():
        store.put(f"model/{name}", data)
    return store


def run(stores: Stores, place: StoreUri) -> None:
    with LocalClient() as client:
        prune_stored(client, stores, StoredRun(source=place.child("model"), target=place.child("out"), options=OPTIONS))


def expected(tmp_path: Path) -> dict[str, bytes]:
    with LocalClient() as client:
        prune_folder(client, tmp_path / "model", tmp_path / "local", OPTIONS.recipe, output="pruned")
    return dict(contents(tmp_path / "local"))


def written(store: Store) -> dict[str, bytes]:
    return {found.key.removeprefix("out/"): store.get(found.key)[0] for found in store.list("out")}


def first_of(fault: Fault, *methods: str) -> Callable[[str, str, int], Fault | None]:
    return lambda method, _path, number: fault if number == 1 and method in methods else None


PASSING = {
    "503 to everything once": first_of(Fault.REFUSED, "GET", "HEAD", "PUT", "POST"),
    "connections dropped": first_of(Fault.DROPPED, "GET", "HEAD", "PUT", "POST"),
    "bodies cut": first_of(Fault.CUT, "GET"),
    "bodies short": first_of(Fault.SHORT, "GET"),
    "answers late": first_of(Fault.DELAYED, "GET", "PUT"),
    "answers to writes lost": first_of(Fault.LOST, "PUT"),
}


@pytest.mark.parametrize("name", PASSING)
def test_fault_that_passes(
    name: str, proxy: FaultyProxy, stores: Stores, place: StoreUri, direct: Store, tmp_path: Path
) -> None:
    proxy.choose = PASSING[name]
    run(stores, place)
    assert proxy.faults
    assert written(direct) == expected(tmp_path)


def test_store_that_stays_away_is_an_error(proxy: FaultyProxy, stores: Stores, place: StoreUri, direct: Store) -> None:
    proxy.choose = lambda method, path, _: Fault.REFUSED if method == "GET" and "00002" in path else None
    with pytest.raises(StoreUnavailableError, match="model-00002-of-00003"):
        run(stores, place)
    assert "out/config.json" not in [found.key for found in direct.list("out")]


def test_body_that_stays_short_is_an_error(proxy: FaultyProxy, stores: Stores, place: StoreUri, direct: Store) -> None:
    proxy.choose = lambda method, path, _: Fault.SHORT if method == "GET" and "00002" in path else None
    with pytest.raises(StoreUnavailableError, match=r"sent [\d,]+ of [\d,]+ bytes.*model-00002-of-00003"):
        run(stores, place)


@pytest.mark.parametrize("new", [b"another file altogether", None], ids=["changed", "deleted"])
def test_shard_that_changes_meanwhile_is_named(
    new: bytes | None, proxy: FaultyProxy, stores: Stores, place: StoreUri, direct: Store
) -> None:
    """It changes between the look at its header and the reading of its tensors."""
    shard = "model/model-00002-of-00003.safetensors"

    def choose(method: str, path: str, number: int) -> None:
        if method == "GET" and "00002" in path and number == 2:
            if new is None:
                direct.delete(shard)
            else:
                direct.put(shard, new)

    proxy.choose = choose
    with pytest.raises(ObjectChangedError, match="model-00002-of-00003"):
        run(stores, place)


def test_nothing_stays_of_a_run_that_fails(stores: Stores, place: StoreUri, direct: Store) -> None:
    with open_stored(stores, place.child("model")) as _, pytest.raises(ZeroDivisionError):
        _fail_half_way(stores, place)
    assert written(direct) == {}


def _fail_half_way(stores: Stores, place: StoreUri) -> None:
    result = new_folder(stores, place.child("out"))
    with result.made() as folder:
        folder.mkdir()
        (folder / "notes").write_text("ours")
        (folder / "config.json").mkdir()  # cannot be read
        (folder / "config.json" / "x").write_text("x")
        raise ZeroDivisionError


def test_create_whose_answer_is_lost(proxy: FaultyProxy, stores: Stores, place: StoreUri, direct: Store) -> None:
    proxy.choose = first_of(Fault.LOST, "PUT")
    version = stores.open(place).create("lease", b"mine")
    assert direct.get("lease") == (b"mine", version)
    with pytest.raises(ExistsError):
        stores.open(place).create("lease", b"yours")
