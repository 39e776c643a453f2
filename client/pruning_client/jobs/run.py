"""One job carried out, from its source into its target."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, cast

from pruning_client.calls.request import with_seed
from pruning_client.huggingface.folder import FolderOptions
from pruning_client.huggingface.vocabulary.folder_files import TokenizerTrim
from pruning_client.jobs.client import JobClient
from pruning_client.jobs.divided.connection import DividedRun
from pruning_client.jobs.executors import open_executor
from pruning_client.jobs.progress import JobProgress
from pruning_client.jobs.run_state import RunState
from pruning_client.results.output_format import Output, name_of
from pruning_client.results.report import Report
from pruning_client.rules.recipe import Recipe
from pruning_client.statistics.statistics import Statistics
from pruning_client.stored.prune import StoredRun, prune_stored
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.local import settings_from
from pruning_service.parts import Phase, PhaseKind
from pruning_service.stores.stores import Stores
from pruning_service.stores.uris import StoreUri

_STEPS: Final = {PhaseKind.SAMPLE: "sampling", PhaseKind.LOOK: "looking", PhaseKind.WRITE: "writing"}
"""What the phases of a divided job are called in its progress."""


def run_job(request: pb.PruneCheckpointRequest, stores: Stores, state: RunState, progress: JobProgress) -> Report:
    """Prune what a job names. The target is the job's own, and may hold what an earlier attempt wrote.

    Raises: PruningError, OSError; LeaseLostError if the job is another process's by now.
    """
    options, settings = request.options, settings_from(os.environ)
    with (
        open_executor(settings.executor, settings.ray_address) as executor,
        JobClient(
            DividedRun(
                label=request.name,
                stores=stores,
                records=state,
                executor=executor,
                settings=settings,
                watch=partial(_note, progress),
            ),
            progress,
        ) as client,
        _statistics(request, stores, progress) as statistics,
    ):
        run = StoredRun(
            source=StoreUri.parse(request.source),
            target=StoreUri.parse(request.target),
            options=FolderOptions(
                recipe=with_seed(Recipe.from_message(options.recipe), state.seed),
                output=cast("Output", name_of(options.output or pb.OUTPUT_FORM_PRUNED)),
                statistics=statistics,
                digests=options.digests,
                max_shard_bytes=request.max_shard_bytes or None,
                tokenizer=TokenizerTrim() if request.trim_tokenizer else None,
            ),
            canonical_zero=options.canonical_zero,
            compression="zstd" if options.compression == pb.COMPRESSION_ZSTD else None,
            check=state.check,
        )
        with progress.step("planning"):
            return prune_stored(client, stores, run)


def _note(progress: JobProgress, phase: Phase, done: int, parts: int) -> None:
    """Note how far a phase of a divided job is."""
    progress.go_on(_STEPS[phase.kind])
    if phase.kind is PhaseKind.WRITE:
        progress.shards(done, parts)


@contextmanager
def _statistics(
    request: pb.PruneCheckpointRequest, stores: Stores, progress: JobProgress
) -> Iterator[Statistics | None]:
    """Return the statistics that a job names, on the disk while inside. Raises: StoreError, CheckpointError."""
    if not request.statistics:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="prune-") as folder:
        file = Path(folder) / "statistics.safetensors"
        with progress.step("fetching"):
            _fetch(stores, StoreUri.parse(request.statistics), file)
        yield Statistics.load(file)


def _fetch(stores: Stores, uri: StoreUri, file: Path) -> None:
    store, key = stores.open_object(uri)
    found = store.find(key)
    with file.open("wb") as copy:
        for piece in store.read(found, [(0, found.size)]):
            copy.write(piece)
