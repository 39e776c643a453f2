"""All jobs of the places that a server may open: created, found and listed, for one caller at a time.

A caller sees a job if it may open its target. Everything here waits for stores: it is for threads.
"""

import secrets
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

from google.longrunning.operations_proto_pb2 import Operation

from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.jobs.leases import now
from pruning_service.jobs.names import COLLECTION, OperationName, not_found, parse_operation_name, place_id
from pruning_service.jobs.operations import operation_of
from pruning_service.jobs.records import CancelRecord, JobRecord
from pruning_service.jobs.requests import check_request, invalid
from pruning_service.jobs.state import REQUEST, JobState, create_job, find_job
from pruning_service.status import Refusal
from pruning_service.stores.allowed import STATE, AllowedStores
from pruning_service.stores.errors import NotAllowedError
from pruning_service.stores.store import Store
from pruning_service.stores.stores import Stores
from pruning_service.stores.uris import StoreUri

_UID_BYTES: Final = 16

_READERS: Final = 16
"""Records of a list that are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls. `token` is the token's name, empty without one: it decides what may be opened. `name` is logged."""

    token: str
    name: str


class JobCatalog:
    """The jobs of a server's places."""

    def __init__(self, stores: Stores, allowed: AllowedStores) -> None:
        self.stores = stores
        self._allowed = allowed
        uris = sorted({place.uri for place in allowed.places})
        self._places = {place_id(uri): uri for uri in uris}

    @property
    def schemes(self) -> list[str]:
        """The schemes of all places."""
        return sorted({uri.scheme for uri in self._places.values()})

    def places(self) -> Iterator[Store]:
        """Yield the store of each place. Raises: StoreError."""
        for uri in self._places.values():
            yield self.stores.open(uri)

    def create(self, raw: bytes, caller: Caller) -> tuple[JobState, bool]:
        """Return the job that a serialized request asks for, and whether it is new. Raises: Refusal, StoreError."""
        request = pb.PruneCheckpointRequest.FromString(raw)
        check_request(request)
        for uri in filter(None, (request.source, request.statistics)):
            self._allowed.check(StoreUri.parse(uri), caller.token)
        place = self._allowed.check(StoreUri.parse(request.target), caller.token)
        record = JobRecord(
            uid=secrets.token_hex(_UID_BYTES), caller=caller.name, created=now().ToJsonString(), request=request
        )
        job = create_job(self.stores.open(place.uri), record)
        if not _is_same(job.record.request, request):
            raise _exists(job)
        return job, job.record.uid == record.uid

    def find(self, text: str, caller: Caller) -> JobState:
        """Return the job of an operation's name. Raises: Refusal, StoreError."""
        name = parse_operation_name(text)
        found = [job for job in self._named(name) if self._is_visible(job, caller)]
        if not found:
            raise not_found(text)
        if len(found) > 1:
            listed = ", ".join(str(job.operation_name) for job in found)
            raise invalid("name", f"several jobs are named {name.name}; give one of {listed}")
        return found[0]

    def cancel(self, text: str, caller: Caller) -> JobState:
        """Have a job cancelled; one that is done stays as it is. Raises: Refusal, StoreError."""
        job = self.find(text, caller)
        if job.result() is None:
            job.cancel(CancelRecord(caller=caller.name))
        return job

    def delete(self, text: str, caller: Caller) -> None:
        """Delete the state of a job that is done. Raises: Refusal, StoreError."""
        job = self.find(text, caller)
        if job.result() is None:
            raise Refusal(
                reason=Reason.JOB_NOT_DONE,
                message=f"{job.operation_name} is under way; cancel it, and delete it once it is done",
                metadata={"name": str(job.operation_name)},
            )
        job.delete()

    def page(self, after: str, most: int, caller: Caller) -> tuple[list[Operation], str]:
        """Return operations in the order of their names, and after which of them the next page begins; empty: none.

        Raises: StoreError.
        """
        with ThreadPoolExecutor(_READERS, "prune-list") as readers:
            found = list(islice(self._visible(after, readers, caller), most + 1))
            operations = list(readers.map(operation_of, found[:most]))
        return operations, operations[-1].name if len(found) > most else ""

    def _visible(self, after: str, readers: Executor, caller: Caller) -> Iterator[JobState]:
        """Yield the jobs after a full name that a caller may see, of which some are read ahead."""
        for store in self._by_id():
            place = place_id(store.uri)
            names = iter(sorted(name for name in job_names(store) if str(OperationName(place, name)) > after))
            while several := list(islice(names, _READERS)):
                for job in readers.map(partial(find_job, store), several):
                    if job is not None and self._is_visible(job, caller):
                        yield job

    def _by_id(self) -> Iterator[Store]:
        for _, uri in sorted(self._places.items()):
            yield self.stores.open(uri)

    def _named(self, name: OperationName) -> Iterator[JobState]:
        for place, uri in self._places.items():
            if name.place in ("", place):
                job = find_job(self.stores.open(uri), name.name)
                if job is not None:
                    yield job

    def _is_visible(self, job: JobState, caller: Caller) -> bool:
        try:
            self._allowed.check(StoreUri.parse(job.record.request.target), caller.token)
        except NotAllowedError:
            return False
        return True


def job_names(store: Store) -> set[str]:
    """Return the names that have a request in a place. Raises: StoreError."""
    paths = (found.key.split("/") for found in store.list(STATE))
    return {path[1] for path in paths if len(path) == 3 and path[2] == REQUEST}


def is_collection(name: str) -> bool:
    """Whether this is what operations are listed under."""
    return name in ("", COLLECTION)


def _is_same(one: pb.PruneCheckpointRequest, other: pb.PruneCheckpointRequest) -> bool:
    return one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def _exists(job: JobState) -> Refusal:
    return Refusal(
        reason=Reason.JOB_EXISTS,
        message=f"there is a job named {job.name} with another request; choose another name, or delete that one once "
        "it is done",
        metadata={"name": str(job.operation_name)},
    )
