"""A model in a store: its small files in a private folder of the disk, its weights by ranges."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from pruning_client.checkpoints.opened import Checkpoint
from pruning_client.errors import CheckpointError
from pruning_client.huggingface.config_fields import CONFIG
from pruning_client.huggingface.copied_files import is_never_copied
from pruning_client.huggingface.copied_folder import copy_folder
from pruning_client.stored.named_errors import naming_uri
from pruning_client.stored.stored_file import StoredFiles
from pruning_proto.limits import MIB
from pruning_proto.reasons import Reason
from pruning_service.stores.errors import ObjectMissingError
from pruning_service.stores.store import Store
from pruning_service.stores.store import StoredObject as Found
from pruning_service.stores.stores import Stores
from pruning_service.stores.uris import StoreUri, UriError

_WEIGHTS: Final = frozenset(
    (
        *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".npz", ".pdparams"),
        *(".onnx", ".onnx_data", ".gguf", ".ggml", ".tflite"),
    )
)
"""Suffixes of files that are not read before somebody needs their bytes."""

_SMALL_BYTES: Final = 64 * MIB
_MOST_OBJECTS: Final = 10_000
_THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model's folder, or one file, in a store. Of its files, all but weights are below `path`, those by name only.

    `path` is that of the folder, or of the file.
    """

    uri: StoreUri
    path: Path
    files: StoredFiles
    is_folder: bool
    _store: Store
    _by_name: tuple[str, ...]

    @property
    def checkpoint(self) -> Checkpoint:
        """The file, of a model that is one."""
        return Checkpoint(self.path, self.files)

    def copy(self, target: Path, is_left_out: Callable[[Path], bool]) -> None:
        """Copy all files of the folder but those left out; what is not on the disk yet comes from the store."""
        copy_folder(self.path, target, is_left_out)
        for key in self._by_name:
            if (target / key).is_file():
                _fetch_large(self._store, self._store.find(key), target / key)


@contextmanager
def open_stored(stores: Stores, uri: StoreUri) -> Iterator[StoredModel]:
    """Return what a URI names, a file or a folder, to be used inside.

    Raises: StoreError, ObjectMissingError if there is neither; these, PruningErrors and OSErrors inside name URIs.
    """
    with tempfile.TemporaryDirectory(prefix="prune-") as name:
        folder = Path(name).resolve() / "source"
        folder.mkdir()
        store, key = stores.open_object(uri)
        found = _find(store, key)
        if found is None:
            with naming_uri(folder, uri):
                yield _fetched_folder(stores.open(uri), folder)
        else:
            with naming_uri(folder, store.uri):
                yield _fetched_file(store, found, folder)


def _find(store: Store, key: str) -> Found | None:
    """Return the object of a key; None if there is none, but perhaps a folder."""
    if not key:
        return None
    try:
        return store.find(key)
    except ObjectMissingError:
        return None


def _fetched_file(store: Store, found: Found, folder: Path) -> StoredModel:
    """Return a model that is one file, or the index of several beside it; config.json tells how weights are stored."""
    path = folder / found.key
    if _is_by_name(found):
        path.touch()
    else:
        _fetch_small(store, folder, found)
    if found.key != CONFIG and (config := _find(store, CONFIG)) is not None:
        _fetch_small(store, folder, config)
    return StoredModel(store.uri.child(found.key), path, StoredFiles(store, folder), False, store, ())


def _fetched_folder(store: Store, folder: Path) -> StoredModel:
    objects = _objects(store)
    if not objects:
        raise ObjectMissingError(store.uri, "there is no such object, and nothing below")
    files = StoredFiles(store, folder)
    by_name = [found for found in objects if _is_by_name(found)]
    for found in objects:
        (folder / found.key).parent.mkdir(parents=True, exist_ok=True)
    for found in by_name:
        (folder / found.key).touch()
    small = [found for found in objects if not _is_by_name(found)]
    with ThreadPoolExecutor(_THREADS, "prune-fetch-files") as executor:
        list(executor.map(partial(_fetch_small, store, folder), small))
        weights = [folder / found.key for found in by_name if found.key.endswith(".safetensors")]
        list(executor.map(files.open, weights))  # their headers, which are needed one after the other
    return StoredModel(store.uri, folder, files, True, store, tuple(found.key for found in by_name))


def _objects(store: Store) -> Sequence[Found]:
    """Return the files of a folder; markers of folders, and files that are written just now, are none."""
    listed = list(islice(store.list(), _MOST_OBJECTS + 1))
    if len(listed) > _MOST_OBJECTS:
        raise _error(store, f"has more than {_MOST_OBJECTS:,} objects, and is not the folder of one model; name that")
    folders = {parent.as_posix() for found in listed for parent in Path(found.key).parents}
    objects = [
        found
        for found in listed
        if not (found.size == 0 and found.key.rstrip("/") in folders | {""})
        and not found.key.endswith("/")
        and not any(map(is_never_copied, Path(found.key).parts))
    ]
    for found in objects:
        try:
            store.uri.child(found.key)
        except UriError as error:
            raise _error(store, f"has an object with a key that no file has: {error}") from error
        if found.key in folders:
            raise _error(store, f"has an object {found.key!r}, and others below it, which no folder of files has")
    return objects


def _is_by_name(found: Found) -> bool:
    return Path(found.key).suffix in _WEIGHTS or found.size > _SMALL_BYTES


def _fetch_small(store: Store, folder: Path, found: Found) -> None:
    """Fetch a file of a size that is known: an answer that is too short is noticed."""
    there = store.find(found.key)
    data = memoryview(bytearray(there.size))
    store.read_into(there, 0, data)
    (folder / found.key).write_bytes(data)


def _fetch_large(store: Store, found: Found, path: Path) -> None:
    with path.open("wb") as file:
        for piece in store.read(found, [(0, found.size)]):
            file.write(piece)


def _error(store: Store, description: str) -> CheckpointError:
    return CheckpointError(f"{store.uri}: {description}", reason=Reason.INVALID_HEADER)
