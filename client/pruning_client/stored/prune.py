"""A model pruned from a place in a store into another, in one go: what a job does whose plan cannot be divided."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pruning_client.calls.exchange import Watcher
from pruning_client.huggingface.folder import FilePruner, FolderOptions, completed_recipe, prune_model
from pruning_client.results.output_format import Compression
from pruning_client.results.report import Report
from pruning_client.stored.result import StoredResult
from pruning_client.stored.source import open_stored
from pruning_client.stored.target import StoredObject
from pruning_service.stores.stores import Stores
from pruning_service.stores.uris import StoreUri


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """From where to where, and how. `options` are of a folder; `canonical_zero` and `compression` of output "packed".

    `check` is called before anything gets visible at the target, and raises if this process may not go on. The target
    is the caller's alone: that nothing is there, and that nothing stays after a failure, is seen to by the caller.
    """

    source: StoreUri
    target: StoreUri
    options: FolderOptions
    canonical_zero: bool = False
    compression: Compression | None = None
    check: Callable[[], object] = lambda: None


def prune_stored(client: FilePruner, stores: Stores, run: StoredRun, progress: Watcher | None = None) -> Report:
    """Prune a file or a model's folder into a new one.

    Weights are read by ranges and written as they are finished; other files, the index and config.json follow, in this
    order. Raises: StoreError, and as `prune_folder` and `Client.prune_file`.
    """
    options = run.options
    with open_stored(stores, run.source) as model:
        if model.is_folder:
            options = replace(options, recipe=completed_recipe(model.path, options.recipe))
            result = StoredResult(stores.open(run.target), check=run.check, is_new=False)
            return prune_model(client, model, result, options, progress)
        store, key = stores.open_object(run.target)
        return client.prune_file(
            model.checkpoint,
            StoredObject(store, key, run.check),
            options.recipe,
            output=options.output,
            statistics=options.statistics,
            digests=options.digests,
            canonical_zero=run.canonical_zero,
            compression=run.compression,
            progress=progress,
            timeout=options.timeout,
        )
