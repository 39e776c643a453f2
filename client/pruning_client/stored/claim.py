"""A target that one run writes to: another that begins meanwhile is refused, wherever the two run."""

import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pruning_service.stores.errors import ExistsError, StoreError
from pruning_service.stores.store import Store


@contextmanager
def claimed(store: Store, name: str) -> Iterator[None]:
    """Have what is called `name` in a store for this process alone, while inside; an object beside it says so.

    Raises: StoreError; ExistsError if another process has it.
    """
    key = f".prune-{name}.part"  # as unfinished files are named: it is never copied with a folder
    by = {"host": socket.gethostname(), "process": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S %z")}
    try:
        store.create(key, json.dumps({**by, "random": secrets.token_hex(8)}).encode())
    except ExistsError as error:
        raise ExistsError(
            store.uri.child(name),
            f"another run writes to it; if none does, because it was killed, delete {store.uri.child(key)}",
        ) from error
    try:
        yield
    finally:
        with suppress(StoreError):
            store.delete(key)
