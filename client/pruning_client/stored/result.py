"""A model's folder written to a store: weights first, what loaders begin with last; each file is visible once whole."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pruning_client.calls.sinks import Target
from pruning_client.checkpoints.pipeline import PIPELINE
from pruning_client.checkpoints.shards import is_index
from pruning_client.huggingface.config_fields import CONFIG
from pruning_client.huggingface.places import target_of
from pruning_client.huggingface.result_check import shapes_of
from pruning_client.huggingface.result_files import ResultFiles
from pruning_client.huggingface.transformers_check import Shapes
from pruning_client.stored.planned_shards import PlannedShards
from pruning_client.stored.stored_file import StoredFiles
from pruning_client.stored.target import Check, StoredObject
from pruning_proto.limits import MIB
from pruning_service.stores.errors import ExistsError, StoreError
from pruning_service.stores.store import Store

_SMALL_BYTES: Final = 8 * MIB


class StoredResult:
    """A `ResultFolder` in a store.

    `check` is called before anything gets visible, and raises if this process may not go on. `is_new`: the target has
    to be empty, and what was written is deleted after a failure; otherwise it is the caller's to see to both.
    """

    def __init__(self, store: Store, *, check: Check = lambda: None, is_new: bool = True) -> None:
        self._store = store
        self._check = check
        self._is_new = is_new
        self._shards = PlannedShards(store, check)
        self._only_file: str | None = None
        self._written: list[str] = []

    def check_new(self) -> None:
        """Raise ExistsError if there is something at the target."""
        if self._is_new:
            check_empty(self._store)

    @contextmanager
    def made(self) -> Iterator[Path]:
        """Return a folder on the disk to be made inside; in the end its files are put beside the weights."""
        with tempfile.TemporaryDirectory(prefix="prune-") as name:
            folder = Path(name) / "result"
            try:
                yield folder
                self._put_all(folder)
            except BaseException:
                self._remove()
                raise

    def weights(self, folder: Path, files: ResultFiles) -> Target:
        """Return what the weights are to be written to."""
        self._only_file = files.only_file
        return target_of(files, folder, self._object, self._shards)

    def shapes(self, folder: Path) -> Shapes:
        """Return the shape of each tensor that was written, as the store has it."""
        files = StoredFiles(self._store, folder)
        shapes: dict[str, Sequence[int]] = {}
        for file in [self._only_file] if self._only_file is not None else self._shards.completed:
            shapes.update(shapes_of(folder / file, files))
        return shapes

    def _object(self, file: str) -> StoredObject:
        return StoredObject(self._store, file, self._check)

    def _put_all(self, folder: Path) -> None:
        paths = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
        for path in sorted(paths, key=lambda path: (_rank(path), -len(path.parts), path)):
            self._put(path, path.relative_to(folder).as_posix())

    def _put(self, path: Path, key: str) -> None:
        self._check()
        self._written.append(key)
        size = path.stat().st_size
        if size <= _SMALL_BYTES:
            self._store.put(key, path.read_bytes())
            return
        with path.open("rb") as file, self._store.writer(key, size) as writer:
            while block := file.read(_SMALL_BYTES):
                writer.write(block)
            writer.complete()

    def _remove(self) -> None:
        """Delete what was written, the last first."""
        if not self._is_new:
            return
        weights = [*self._shards.completed, *filter(None, [self._only_file])]
        for key in [*reversed(self._written), *weights]:
            with suppress(StoreError):
                self._store.delete(key)


def check_empty(store: Store) -> None:
    """Raise ExistsError if there is an object, or a folder, at a place."""
    found = next(iter(store.list()), None)
    if found is not None:
        raise ExistsError(store.uri, f"is there already (it has {found.key}), and is not overwritten; name a new place")


def _rank(path: Path) -> int:
    """Return when a file is put: an index after all other files, and what loaders begin with last."""
    return 2 if path.name in (CONFIG, PIPELINE) else 1 if is_index(path) else 0
