"""Records of jobs in a store: each is written by whom it should be, and once."""

from pathlib import Path

import pytest
from google.longrunning.operations_proto_pb2 import Operation

from pruning_service.jobs.records import CancelRecord, JobRecord, LeaseRecord, RecordError
from pruning_service.jobs.state import find_job
from pruning_service.stores.errors import StoreError
from pruning_service.stores.stores import Stores
from pruning_service.stores.uris import StoreUri
from tests.service.jobs.stored import Place


def test_a_job_is_found_as_it_was_created(place: Place) -> None:
    job = place.created()
    found = find_job(job.store, "nightly")

    assert found is not None
    assert found.record == job.record


def test_the_first_of_a_name_is_the_job(place: Place) -> None:
    first = place.created()

    assert place.created(target="other").record == first.record


def test_a_job_ends_once(place: Place) -> None:
    job = place.created()
    job.finish(Operation(name="first", done=True))

    assert job.finish(Operation(name="second", done=True)).name == "first"
    assert (job.result() or Operation()).name == "first"


def test_who_cancelled_first_counts(place: Place) -> None:
    job = place.created()
    for caller in ("one", "two"):
        job.cancel(CancelRecord(caller=caller))

    assert job.cancelled() == CancelRecord(caller="one")


def test_a_deleted_job_is_gone(place: Place) -> None:
    job = place.created()
    job.put_part("sample-0", b"part")
    job.finish(Operation(done=True))
    job.delete()

    assert find_job(job.store, "nightly") is None
    assert not list(job.store.list("_pruning"))


def test_a_deleted_job_leaves_no_folder(tmp_path: Path) -> None:
    with Stores() as stores:
        job = Place(stores, StoreUri.parse(f"file://{tmp_path}")).created()
        job.put_part("sample-0", b"part")
        job.delete()
    assert not list((tmp_path / "_pruning").iterdir())


def test_a_name_is_free_after_a_delete(place: Place) -> None:
    first = place.created()
    first.finish(Operation(done=True))
    first.delete()
    second = place.created()

    assert second.record.uid != first.record.uid
    assert second.result() is None


def test_a_late_writer_does_not_touch_the_next_job(place: Place) -> None:
    first = place.created()
    first.delete()
    second = place.created()
    first.put_part("sample-0", b"late")
    first.finish(Operation(name="late", done=True))
    first.delete()

    assert second.part("sample-0") is None
    assert second.result() is None
    assert find_job(second.store, "nightly") is not None


def test_a_name_is_free_after_half_a_delete(place: Place) -> None:
    first = place.created()
    data = JobRecord(uid=first.record.uid, caller="", created="", request=first.record.request, is_deleted=True)
    first.store.put("_pruning/nightly/request", data.to_json())

    assert find_job(first.store, "nightly") is None
    assert place.created().record.uid != first.record.uid


def test_parts_are_kept_until_they_are_deleted(place: Place) -> None:
    job = place.created()
    job.put_part("sample-0", b"one")
    assert job.part("sample-0") == b"one"

    job.delete_parts()
    assert job.part("sample-0") is None


@pytest.mark.parametrize("name", ["", "../request", "a/b"])
def test_parts_have_plain_names(place: Place, name: str) -> None:
    with pytest.raises(ValueError, match="a part is named"):
        place.created().part(name)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"uid": 1}'])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(RecordError, match="a record"):
        LeaseRecord.from_json(data)


def test_a_damaged_record_names_its_object(place: Place) -> None:
    job = place.created()
    job.store.put("_pruning/nightly/request", b"damaged")

    with pytest.raises(StoreError, match="_pruning/nightly/request"):
        find_job(job.store, "nightly")
