"""Files are opened below the root of a server's setting only, whatever links there are."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pruning_service.stores.allowed import AllowedStores
from pruning_service.stores.errors import AccessDeniedError, ObjectMissingError, StoreError
from pruning_service.stores.store import Store
from pruning_service.stores.stores import Stores, StoreSettings
from pruning_service.stores.uris import StoreUri


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("hunter2")
    return folder


@pytest.fixture
def root(tmp_path: Path, outside: Path) -> Path:
    root = tmp_path / "root"
    (root / "model").mkdir(parents=True)
    (root / "model" / "weights").write_text("w")
    (root / "model" / "link").symlink_to(outside / "secret")
    (root / "model" / "relative").symlink_to("../../outside/secret")
    (root / "model" / "inside").symlink_to("weights")
    (root / "away").symlink_to(outside)
    return root


@pytest.fixture
def store(root: Path) -> Store:
    uri = StoreUri.parse(f"file://{root}")
    return Stores(StoreSettings(allowed=AllowedStores.parse(str(uri)))).open(uri)


@pytest.mark.parametrize("key", ["model/link", "model/relative", "away/secret"])
def test_link_out_of_the_root_is_refused(store: Store, key: str) -> None:
    with pytest.raises(AccessDeniedError, match="leads out"):
        store.find(key)
    with pytest.raises(AccessDeniedError, match="leads out"):
        store.get(key)


def test_link_within_the_root_is_followed(store: Store) -> None:
    assert store.get("model/inside")[0] == b"w"


@pytest.mark.parametrize("key", ["away/new", "away/folder/new"])
def test_nothing_is_written_through_a_link_out_of_the_root(store: Store, outside: Path, key: str) -> None:
    with pytest.raises(AccessDeniedError, match="leads out"):
        store.put(key, b"x")
    with pytest.raises(AccessDeniedError, match="leads out"):
        store.create(key, b"x")
    with pytest.raises(AccessDeniedError, match="leads out"), store.writer(key):
        pass
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_write_replaces_a_link_and_not_what_it_leads_to(store: Store, root: Path, outside: Path) -> None:
    store.put("model/link", b"new")
    assert (root / "model" / "link").read_text() == "new"
    assert (outside / "secret").read_text() == "hunter2"


def test_nothing_is_deleted_through_a_link(store: Store, outside: Path) -> None:
    with pytest.raises(AccessDeniedError, match="leads out"):
        store.delete("away/secret")
    assert (outside / "secret").exists()


def test_list_does_not_follow_links_to_folders(store: Store) -> None:
    with pytest.raises(AccessDeniedError, match="/away'"):
        list(store.list())


def test_folder_and_pipe_are_no_objects(store: Store, root: Path) -> None:
    import os  # noqa: PLC0415

    os.mkfifo(root / "pipe")
    with pytest.raises(ObjectMissingError, match="is a folder"):
        store.find("model")
    with pytest.raises(StoreError, match="not a regular file"):
        store.find("pipe")


def test_file_in_the_way_of_a_folder(store: Store) -> None:
    with pytest.raises(StoreError, match="weights/new"):
        store.put("model/weights/new", b"x")


def test_a_place_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    uri = StoreUri.parse(f"file://{tmp_path}/missing")
    store = Stores(StoreSettings(allowed=AllowedStores.parse(str(uri)))).open(uri)
    with pytest.raises(AccessDeniedError, match="does not exist; make it"):
        store.put("a", b"x")

    assert not (tmp_path / "missing").exists()


def test_root_itself_may_be_a_link(tmp_path: Path, root: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    uri = StoreUri.parse(f"file://{tmp_path}/alias")
    store = Stores(StoreSettings(allowed=AllowedStores.parse(str(uri)))).open(uri)
    assert store.get("model/weights")[0] == b"w"
    with pytest.raises(ObjectMissingError):
        store.get("model/nothing")


def test_empty_folders_are_removed_and_others_are_not(store: Store, root: Path, outside: Path) -> None:
    (root / "jobs" / "empty" / "inner").mkdir(parents=True)
    (root / "jobs" / "full").mkdir()
    (root / "jobs" / "full" / "record").write_text("x")
    (root / "jobs" / "link").symlink_to(outside)
    (outside / "empty").mkdir()
    store.remove_folders("jobs")
    assert {path.name for path in (root / "jobs").iterdir()} == {"full", "link"}
    assert (outside / "empty").is_dir()


def test_records_are_written_while_another_removes_empty_folders(store: Store) -> None:
    with ThreadPoolExecutor() as pool:
        stops = threading.Event()
        removing = pool.submit(_remove_until, stops, store)
        try:
            for number in range(100):
                store.create(f"jobs/name-{number}/uid/record", b"x")
                store.delete(f"jobs/name-{number}/uid/record")
        finally:
            stops.set()
    removing.result()


def _remove_until(stops: threading.Event, store: Store) -> None:
    while not stops.is_set():
        store.remove_folders("jobs")
