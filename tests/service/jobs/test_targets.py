"""Targets: one job each, and what was there before stays."""

from pathlib import Path

import pytest
from google.longrunning.operations_proto_pb2 import Operation

from pruning_service.jobs import targets
from pruning_service.status import Refusal
from pruning_service.stores.local_writing import is_unfinished_of
from pruning_service.stores.stores import Stores
from pruning_service.stores.uris import StoreUri
from tests.service.jobs.stored import Place


def no_check() -> None:
    """Stop nothing."""


def test_a_target_is_of_the_first_job_that_is_not_done(place: Place) -> None:
    first, second = place.created("first"), place.created("second")
    targets.claim(first)
    targets.claim(first)

    with pytest.raises(Refusal, match="the job first writes to"):
        targets.claim(second)


def test_a_target_is_free_when_its_job_is_done(place: Place) -> None:
    first, second = place.created("first"), place.created("second")
    targets.claim(first)
    first.finish(Operation(done=True))
    targets.claim(second)
    targets.release(first)  # no more its own

    with pytest.raises(Refusal, match="the job second writes to"):
        targets.claim(place.created("third"))


def test_a_target_is_free_when_it_is_given_up(place: Place) -> None:
    first = place.created("first")
    targets.claim(first)
    targets.release(first)

    targets.claim(place.created("second"))


@pytest.mark.parametrize("name", ["out", "out/inner/x"])
def test_what_is_there_is_left_alone(place: Place, name: str) -> None:
    place.put(name)

    with pytest.raises(Refusal, match="TARGET_EXISTS"):
        targets.check_free(place.created(), place.stores)


def test_an_empty_folder_is_not_free(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    with Stores() as stores, pytest.raises(Refusal, match="TARGET_EXISTS"):
        targets.check_free(Place(stores, StoreUri.parse(f"file://{tmp_path}")).created(), stores)


def test_nothing_is_free(place: Place) -> None:
    place.put("outer", "other/out")

    targets.check_free(place.created(), place.stores)


@pytest.mark.parametrize("names", [["out"], ["out/a", "out/b/c"]], ids=["file", "folder"])
def test_what_a_job_wrote_is_removed(place: Place, names: list[str]) -> None:
    place.put(*names, "outer", "other/out")
    targets.remove(place.created(), place.stores, no_check)

    assert place.names() == {"outer", "other/out"}
    targets.check_free(place.created(), place.stores)


def test_removing_stops_when_the_lease_is_lost(place: Place) -> None:
    place.put("out/a")

    def lost() -> None:
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        targets.remove(place.created(), place.stores, lost)
    assert place.names() == {"out/a"}


@pytest.mark.parametrize("name", ["out", "out/shard"], ids=["file", "folder"])
def test_unfinished_files_of_a_target_are_removed(tmp_path: Path, name: str) -> None:
    uri = StoreUri.parse(f"file://{tmp_path}")
    with Stores() as stores:
        store = stores.open(uri)
        for file in (name, "other"):
            with store.writer(file) as writer:
                writer.write(b"half")
                for found in [*tmp_path.rglob(".prune-*")]:
                    found.with_name(found.name.replace(".part", "-killed.part")).hardlink_to(found)
        targets.remove_unfinished(uri.child("out"))

    (left,) = tmp_path.rglob(".prune-*")
    assert is_unfinished_of(left.name, "other")
