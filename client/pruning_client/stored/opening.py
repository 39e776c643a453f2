"""Stores opened for a user of this machine: what may be opened is what the user may."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pruning_client.errors import UnavailableError
from pruning_client.stored.result import StoredResult, check_empty
from pruning_client.stored.target import StoredObject
from pruning_service.stores.errors import ExistsError, ObjectMissingError
from pruning_service.stores.store import Store
from pruning_service.stores.stores import Stores, StoreSettings
from pruning_service.stores.uris import StoreUri


def stores_of(environment: Mapping[str, str]) -> Stores:
    """Return what opens stores with the credentials and the endpoint of an environment."""
    return Stores(StoreSettings.of_environment(environment))


@contextmanager
def checking_installed() -> Iterator[None]:
    """Say, inside, what to install if it is missing. Raises: UnavailableError."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"object stores need another package (no {error.name}): pip install 'pruning-service[stores]'"
        ) from error


def new_folder(stores: Stores, uri: StoreUri) -> StoredResult:
    """Return a model's folder to be made at a place where nothing is yet. Raises: ExistsError, StoreError."""
    parent, name = stores.open_object(uri)
    if _is_object(parent, name):
        raise _exists(uri)
    store = stores.open(uri)
    check_empty(store)
    return StoredResult(store)


def new_object(stores: Stores, uri: StoreUri, *, may_replace: bool = False) -> StoredObject:
    """Return an object to be made, at a place where none is yet unless it may be replaced.

    Raises: ExistsError, StoreError.
    """
    store, name = stores.open_object(uri)
    if not may_replace and _is_object(store, name):
        raise _exists(uri)
    return StoredObject(store, name, check=lambda: None)


def _is_object(store: Store, name: str) -> bool:
    try:
        store.find(name)
    except ObjectMissingError:
        return False
    return True


def _exists(uri: StoreUri) -> ExistsError:
    return ExistsError(uri, "is there already, and is not overwritten; name a new place")
