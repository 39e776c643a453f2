"""The stores of one process: each is opened once, with credentials and endpoints of the process and its settings."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pruning_proto.limits import MIB
from pruning_service.stores.allowed import AllowedStores
from pruning_service.stores.local import LocalStore
from pruning_service.stores.store import Store
from pruning_service.stores.traffic import Traffic
from pruning_service.stores.uris import StoreUri

ENDPOINT_VARIABLE: Final = "PRUNING_STORE_ENDPOINT"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """How stores are reached; it can be pickled, for processes that open the same ones.

    `endpoint`: of the S3 protocol, such as `http://127.0.0.1:8333`; empty: that of the process's environment
    (`AWS_ENDPOINT_URL`), or AWS's own. `allowed`: what may be opened; None: everything, for a process that works for
    its own user. `read_ahead_bytes`: of each reader. `attempts`: of one request.
    """

    endpoint: str = ""
    allowed: AllowedStores | None = None
    read_ahead_bytes: int = 32 * MIB
    connections: int = 8
    attempts: int = 8

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings of a process that works for its own user."""
        return cls(endpoint=environment.get(ENDPOINT_VARIABLE, ""))


class Stores:
    """Opens stores; a context manager that ends the threads that fetch. Of no use in a process forked from its own."""

    def __init__(self, settings: StoreSettings | None = None) -> None:
        self.settings = settings or StoreSettings()
        self.traffic = Traffic()
        self._buckets: dict[tuple[str, str], Any] = {}
        self._executor: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads that fetch; those under way end by themselves."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)

    def open(self, uri: StoreUri) -> Store:
        """Return the store of what is below a place; nothing is contacted.

        Raises: NotAllowedError. ImportError if obstore is needed and not installed.
        """
        allowed = self.settings.allowed
        place = None if allowed is None else allowed.place_of(uri)
        if uri.is_file:
            return LocalStore(uri, self.traffic, None if place is None else Path("/") / place.uri.path)
        from pruning_service.stores.remote import Remote, RemoteStore  # noqa: PLC0415 - obstore comes with an extra

        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self.settings.connections, "prune-fetch")
            settings = self.settings
            remote = Remote(
                self._bucket(uri), self._executor, settings.read_ahead_bytes, settings.attempts, self.traffic
            )
        return RemoteStore(uri, remote)

    def open_object(self, uri: StoreUri) -> tuple[Store, str]:
        """Return the store that an object is in, and its key there. Raises: as `open`."""
        return self.open(uri.parent), uri.name

    def _bucket(self, uri: StoreUri) -> Any:
        from pruning_service.stores.buckets import bucket  # noqa: PLC0415
        from pruning_service.stores.remote_errors import translated  # noqa: PLC0415

        key = (uri.scheme, uri.bucket)
        if key not in self._buckets:
            with translated(uri):
                self._buckets[key] = bucket(uri, self.settings.endpoint)
        return self._buckets[key]
