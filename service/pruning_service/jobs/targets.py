"""The target of a job: two jobs never write to one, what was there before is left alone, and what fails leaves nothing.

A job claims its target by an object in its place, `_pruning/.targets/DIGEST`, which exists once for each target.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from pruning_proto.reasons import Reason
from pruning_service.jobs.state import JobState, find_job
from pruning_service.status import Refusal
from pruning_service.stores.allowed import STATE
from pruning_service.stores.errors import ExistsError, ObjectMissingError, ReplacedError
from pruning_service.stores.local_writing import is_unfinished, is_unfinished_of
from pruning_service.stores.stores import Stores
from pruning_service.stores.uris import StoreUri

_CLAIMS: Final = f"{STATE}/.targets"


def claim(job: JobState) -> None:
    """Make a target the job's, or raise if another job that is not done has it. Raises: Refusal, StoreError."""
    store, key, data = job.store, _key(job), _claim(job)
    while True:
        try:
            store.create(key, data)
        except ExistsError:
            try:
                there, version = store.get(key)
            except ObjectMissingError:
                continue
            if there == data:
                return
            _check_done(job, there)
            try:
                store.replace(key, data, version)
            except ReplacedError:
                continue
        return


def release(job: JobState) -> None:
    """Release a claim, if there is one. Raises: StoreError."""
    with suppress(ObjectMissingError):
        if job.store.get(_key(job))[0] == _claim(job):
            job.store.delete(_key(job))


def check_free(job: JobState, stores: Stores) -> None:
    """Raises: Refusal TARGET_EXISTS if there is something at the target. StoreError."""
    target = StoreUri.parse(job.record.request.target)
    if target.is_file:
        if os.path.lexists(_path(target)):
            raise taken(target, "there is something at")
        return
    store, name = stores.open_object(target)
    with suppress(ObjectMissingError):
        store.find(name)
        raise taken(target, "there is an object at")
    if next(iter(stores.open(target).list()), None) is not None:
        raise taken(target, "there are objects below")


def remove(job: JobState, stores: Stores, check: Callable[[], object]) -> None:
    """Remove whatever is at the target, which is the job's; `check` is called before each step.

    Raises: StoreError; what `check` raises.
    """
    target = StoreUri.parse(job.record.request.target)
    parent, name = stores.open_object(target)
    check()
    if not target.is_file or not _path(target).is_dir():
        parent.delete(name)
    if not target.is_file or _path(target).is_dir():
        store = stores.open(target)
        for found in list(store.list()):
            check()
            store.delete(found.key)
    if target.is_file:
        check()
        remove_unfinished(target)
        _remove_folders(target)


def remove_unfinished(target: StoreUri) -> None:
    """Remove what a process that was killed left of files of a target on this machine; stores show nothing of it."""
    if not target.is_file:
        return
    path = _path(target)
    left = [found for found in _files_in(path) if is_unfinished(found.name)]
    left += [found for found in _files_beside(path) if is_unfinished_of(found.name, path.name)]
    for found in left:
        found.unlink(missing_ok=True)


def taken(target: StoreUri, what: str) -> Refusal:
    """Return the refusal of a target that is in use."""
    return Refusal(
        reason=Reason.TARGET_EXISTS,
        message=f"target: {what} {target}; name a place where nothing is",
        metadata={"field": "target"},
    )


def _path(target: StoreUri) -> Path:
    return Path("/") / target.path


def _remove_folders(target: StoreUri) -> None:
    """Remove the folders of a target on this machine that are empty."""
    for folder, _, _ in os.walk(_path(target), topdown=False):
        with suppress(OSError):  # something else is in it
            Path(folder).rmdir()


def _files_in(folder: Path) -> Iterator[Path]:
    for inner, _, files in os.walk(folder):
        yield from (Path(inner) / name for name in files)


def _files_beside(path: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError):
        yield from (Path(entry.path) for entry in os.scandir(path.parent) if not entry.is_dir(follow_symlinks=False))


def _check_done(job: JobState, claimed: bytes) -> None:
    """Raises: Refusal TARGET_EXISTS if the job that has the target is not done."""
    try:
        fields = json.loads(claimed)
        name, uid = str(fields["name"]), str(fields["uid"])
    except (ValueError, KeyError, TypeError):
        return  # not of a job
    other = find_job(job.store, name)
    if other is not None and other.record.uid == uid and other.result() is None:
        raise taken(StoreUri.parse(job.record.request.target), f"the job {name} writes to")


def _claim(job: JobState) -> bytes:
    return json.dumps({"name": job.name, "uid": job.record.uid}).encode()


def _key(job: JobState) -> str:
    digest = hashlib.sha256(job.record.request.target.encode()).hexdigest()[:32]
    return f"{_CLAIMS}/{digest}"
