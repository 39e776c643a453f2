"""A run of this process alone whose parts are carried out by an executor: nothing of it is kept when it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pruning_client.errors import UnavailableError
from pruning_client.jobs.divided.client import DividedClient
from pruning_client.jobs.divided.connection import DividedRun
from pruning_client.jobs.divided.part_records import StoredRecords
from pruning_client.jobs.executors import open_executor
from pruning_service.local import settings_from
from pruning_service.local_settings import LocalSettings
from pruning_service.stores.stores import Stores
from pruning_service.stores.uris import StoreUri


@dataclass(frozen=True, slots=True)
class OwnRun:
    """Where the result goes, and who carries it out. `ray_address`: of the environment, if it is None."""

    target: StoreUri
    executor: str
    ray_address: str | None = None
    timeout: float | None = None


def on_disk(path: Path) -> StoreUri:
    """Return the place of a path, as one of a store."""
    return StoreUri("file", "", str(path.resolve()).removeprefix("/"))


@contextmanager
def client_of_run(stores: Stores, run: OwnRun) -> Iterator[DividedClient]:
    """Return a client whose call with a result at the target is carried out in parts, where it can be.

    The records of the parts are beside the target while inside, where workers elsewhere find them.
    Raises: UnavailableError if the executor cannot be had.
    """
    settings = _settings(run)
    records = StoredRecords(stores.open(run.target.parent.child(f".prune-{run.target.name}.parts")))
    with open_executor(settings.executor, settings.ray_address) as executor:
        divided = DividedRun(
            label=run.target.name, stores=stores, records=records, executor=executor, settings=settings
        )
        try:
            with DividedClient(divided, timeout=run.timeout) as client:
                yield client
        finally:
            with suppress(OSError):
                records.delete()
                if records.uri.is_file:
                    (Path("/") / records.uri.path).rmdir()


def _settings(run: OwnRun) -> LocalSettings:
    """Return the settings of the environment, with the executor of the run. Raises: UnavailableError."""
    given = {"PRUNING_EXECUTOR": run.executor, "PRUNING_RAY_ADDRESS": run.ray_address}
    try:
        return settings_from(dict(os.environ) | {name: text for name, text in given.items() if text})
    except ValueError as error:
        raise UnavailableError(str(error)) from error
