"""Leases: one holder at a time, who stops in time."""

import threading

import pytest

from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.jobs.ages import LeaseAges
from pruning_service.jobs.leases import Lease, LeaseLostError, give_back, now_seconds, take, take_to_settle
from pruning_service.jobs.records import NOBODY
from pruning_service.jobs.scan import Scanner
from pruning_service.jobs.state import HeldVersion, JobState
from tests.service.jobs.stored import Place, claim


@pytest.fixture
def job(place: Place) -> JobState:
    return place.created()


def taken(job: JobState, valid_seconds: float = 60.0) -> HeldVersion:
    held = take(job, job.lease(), claim(valid_seconds))
    assert held is not None
    return held


def test_of_two_who_saw_the_same_one_takes_it(job: JobState) -> None:
    first = take(job, None, claim())

    assert first is not None
    assert take(job, None, claim()) is None
    assert job.lease() == first


def test_of_many_at_once_one_takes_it(job: JobState) -> None:
    held: list[HeldVersion | None] = []
    threads = [threading.Thread(target=lambda: held.append(take(job, None, claim()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(each is not None for each in held) == 1


def test_each_attempt_is_counted(job: JobState) -> None:
    attempts = []
    for _ in range(3):
        held = taken(job)
        attempts.append(held.record.metadata.attempt)
        give_back(job, held)

    assert attempts == [1, 2, 3]
    assert (job.lease() or held).record.lone_attempts == 3


def test_an_attempt_that_was_asked_to_stop_is_no_lone_one(job: JobState) -> None:
    give_back(job, taken(job), counts=False)

    assert (job.lease() or taken(job)).record.lone_attempts == 0


def test_a_finished_part_begins_the_count_anew(job: JobState) -> None:
    give_back(job, taken(job))
    lease = Lease(job, taken(job), now_seconds())
    assert lease.record.lone_attempts == 2

    lease.part_finished()
    assert lease.record.lone_attempts == 0


def test_who_settles_begins_no_attempt(job: JobState) -> None:
    held = take_to_settle(job, None, claim())

    assert held is not None
    assert held.record.metadata.attempt == 0
    assert held.record.lone_attempts == 0


def test_a_lost_lease_is_noticed_at_the_next_renewal(job: JobState) -> None:
    lease = Lease(job, taken(job), now_seconds())
    taken(job)

    with pytest.raises(LeaseLostError, match="another process"):
        lease.renew(pb.PruneCheckpointMetadata())
    with pytest.raises(LeaseLostError):
        lease.check()


def test_a_deleted_lease_is_lost(job: JobState) -> None:
    lease = Lease(job, taken(job), now_seconds())
    job.delete()

    with pytest.raises(LeaseLostError):
        lease.renew(pb.PruneCheckpointMetadata())


def test_the_holder_stops_when_the_time_is_over(job: JobState) -> None:
    lease = Lease(job, taken(job, valid_seconds=60.0), now_seconds() - 61.0)

    with pytest.raises(LeaseLostError, match="not renewed in time"):
        lease.check()
    with pytest.raises(LeaseLostError):
        lease.renew(pb.PruneCheckpointMetadata())


def test_a_renewal_whose_answer_was_lost_does_not_lose_the_lease(job: JobState) -> None:
    held = taken(job)
    lease = Lease(job, held, now_seconds())
    job.replace_lease(held.record.next(), held.version)  # its own, and it does not know

    lease.renew(held.record.metadata)
    assert (job.lease() or held).record.owner == held.record.owner


def test_a_released_lease_is_free_at_once(job: JobState) -> None:
    lease = Lease(job, taken(job), now_seconds())
    lease.release()
    record = (job.lease() or lease.held).record

    assert record.owner == NOBODY
    assert record.valid_seconds == 0
    with pytest.raises(LeaseLostError):
        lease.check()


def test_time_under_way_adds_up(job: JobState) -> None:
    for _ in range(2):
        Lease(job, taken(job), now_seconds() - 10.0).release()

    assert 20.0 <= (job.lease() or taken(job)).record.used_seconds < 60.0


def test_an_age_begins_with_each_version() -> None:
    ages, key = LeaseAges(), ("place", "uid")
    ages.age(key, "1")
    first = ages.age(key, "1")

    assert ages.age(key, "2") <= first
    assert ages.age(key, "2") < 60.0


def test_a_held_lease_is_free_when_it_was_seen_unchanged_for_long_enough(job: JobState) -> None:
    scanner = Scanner()
    lease = Lease(job, taken(job), now_seconds())
    lease.begin(0.2)
    first = scanner.look(iter([job.store]))
    threading.Event().wait(0.3)
    second = scanner.look(iter([job.store]))

    assert [each.is_free for each in first] == [False]
    assert [each.is_free for each in second] == [True]


def test_a_renewed_lease_stays_held(job: JobState) -> None:
    scanner = Scanner()
    lease = Lease(job, taken(job), now_seconds())
    lease.begin(0.4)
    looks = []
    for _ in range(4):
        lease.renew(lease.record.metadata)
        looks.append(scanner.look(iter([job.store]))[0].is_free)
        threading.Event().wait(0.1)

    assert looks == [False] * 4
