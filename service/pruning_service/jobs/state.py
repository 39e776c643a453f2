"""The state of jobs in a store: small records, written with conditional puts, from which every server answers.

    _pruning/NAME/request         what was asked; the name is taken as long as this is there
    _pruning/NAME/UID/lease       who carries it out, and how far it is
    _pruning/NAME/UID/parts/PART  what was computed of a finished part
    _pruning/NAME/UID/cancelled   somebody had it cancelled
    _pruning/NAME/UID/report      the whole report, of a job that succeeded
    _pruning/NAME/UID/result      how it ended, written once

UID is drawn for each job, so that a name can be used again once its job was deleted, whoever still writes for that job.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from google.longrunning.operations_proto_pb2 import Operation

from pruning_service.jobs.names import OperationName, operation_name
from pruning_service.jobs.records import CancelRecord, JobRecord, LeaseRecord, RecordError, ResultRecord
from pruning_service.stores.allowed import STATE
from pruning_service.stores.errors import ExistsError, ObjectMissingError, ReplacedError, StoreError
from pruning_service.stores.store import Store
from pruning_service.stores.uris import StoreUri

REQUEST: Final = "request"
LEASE: Final = "lease"
CANCELLED: Final = "cancelled"
RESULT: Final = "result"
REPORT: Final = "report"
PARTS: Final = "parts"

_PART: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")

RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True)
class HeldVersion:
    """A lease as it was read or written, and its version."""

    record: LeaseRecord
    version: str


def find_job(store: Store, name: str) -> "JobState | None":
    """Return the job of a name; None if there is none. Raises: StoreError."""
    found = _read(store, _request_key(name), JobRecord.from_json)
    return None if found is None or found[0].is_deleted else JobState(store, found[0])


def create_job(store: Store, record: JobRecord) -> "JobState":
    """Write what is asked, and return the job, or the one of its name that is there already. Raises: StoreError."""
    key, data = _request_key(record.request.name), record.to_json()
    while True:
        try:
            store.create(key, data)
        except ExistsError:
            found = _read(store, key, JobRecord.from_json)
            if found is None:
                continue
            there, version = found
            if not there.is_deleted:
                return JobState(store, there)
            try:
                store.replace(key, data, version)
            except ReplacedError:
                continue
        return JobState(store, record)


class JobState:
    """The records of one job. All of it is the store's: this object holds only what never changes."""

    def __init__(self, store: Store, record: JobRecord) -> None:
        self.store = store
        self.record = record
        self._folder = f"{STATE}/{record.request.name}/{record.uid}"

    @property
    def name(self) -> str:
        """The job's name."""
        return self.record.request.name

    @property
    def operation_name(self) -> OperationName:
        """The full name of the job's operation."""
        return operation_name(self.store.uri, self.name)

    @property
    def parts_uri(self) -> StoreUri:
        """The place of the records of parts."""
        return self.store.uri.child(self._key(PARTS))

    def lease(self) -> HeldVersion | None:
        """Return the lease; None if there never was one. Raises: StoreError."""
        found = _read(self.store, self._key(LEASE), LeaseRecord.from_json)
        return None if found is None else HeldVersion(*found)

    def result(self) -> Operation | None:
        """Return how the job ended; None if it did not. Raises: StoreError."""
        found = _read(self.store, self._key(RESULT), ResultRecord.from_json)
        return None if found is None else found[0].operation

    def cancelled(self) -> CancelRecord | None:
        """Return who had the job cancelled; None if nobody. Raises: StoreError."""
        found = _read(self.store, self._key(CANCELLED), CancelRecord.from_json)
        return None if found is None else found[0]

    def create_lease(self, record: LeaseRecord) -> HeldVersion:
        """Write the first lease. Raises: StoreError; ExistsError if another process was first."""
        return HeldVersion(record, self.store.create(self._key(LEASE), record.to_json()))

    def replace_lease(self, record: LeaseRecord, version: str) -> HeldVersion:
        """Write a lease in place of the one of a version. Raises: StoreError; ReplacedError."""
        return HeldVersion(record, self.store.replace(self._key(LEASE), record.to_json(), version))

    def cancel(self, record: CancelRecord) -> None:
        """Have the job cancelled; once it is, that does not change. Raises: StoreError."""
        try:
            self.store.create(self._key(CANCELLED), record.to_json())
        except ExistsError:
            return

    def finish(self, operation: Operation) -> Operation:
        """Write how the job ended, and return it, or how it had ended already. Raises: StoreError."""
        try:
            self.store.create(self._key(RESULT), ResultRecord(operation=operation).to_json())
        except ExistsError:
            return self.result() or operation
        return operation

    def put_report(self, data: bytes) -> None:
        """Write the whole report. Raises: StoreError."""
        self.store.put(self._key(REPORT), data)

    def part(self, name: str) -> bytes | None:
        """Return the record of a finished part; None if it is not finished. Raises: StoreError."""
        try:
            return self.store.get(self._part_key(name))[0]
        except ObjectMissingError:
            return None

    def put_part(self, name: str, data: bytes) -> None:
        """Write the record of a finished part. Raises: StoreError."""
        self.store.put(self._part_key(name), data)

    def delete_parts(self) -> None:
        """Delete the records of parts, which a job that is done does not need. Raises: StoreError."""
        for found in list(self.store.list(self._key(PARTS))):
            self.store.delete(found.key)

    def delete(self) -> None:
        """Delete the job: its name is free, then its records are gone. Raises: StoreError."""
        key = _request_key(self.name)
        found = _read(self.store, key, JobRecord.from_json)
        if found is not None and found[0] == self.record:
            gone = replace(self.record, is_deleted=True).to_json()
            try:
                version = self.store.replace(key, gone, found[1])
            except ReplacedError:  # by another who deletes it
                return
            for each in list(self.store.list(self._folder)):
                self.store.delete(each.key)
            with suppress(ObjectMissingError):
                if self.store.find(key).version == version:  # not a new job's
                    self.store.delete(key)
            self.store.remove_folders(f"{STATE}/{self.name}")

    def _key(self, record: str) -> str:
        return f"{self._folder}/{record}"

    def _part_key(self, name: str) -> str:
        if not _PART.fullmatch(name):
            raise ValueError(f"a part is named by letters, digits and any of . _ -; got {name!r}")
        return f"{self._key(PARTS)}/{name}"


def _request_key(name: str) -> str:
    return f"{STATE}/{name}/{REQUEST}"


def _read(store: Store, key: str, parse: Callable[[bytes], RecordT]) -> tuple[RecordT, str] | None:
    """Return a record and its version; None if it is not there. Raises: StoreError."""
    try:
        data, version = store.get(key)
    except ObjectMissingError:
        return None
    try:
        return parse(data), version
    except RecordError as error:
        raise StoreError(store.uri.child(key), str(error)) from error
