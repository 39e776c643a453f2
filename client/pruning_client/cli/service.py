"""The service that a command uses: the server that its options name, or else the pipeline in this process."""

from argparse import Namespace
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pruning_client.calls.exchange import Watcher
from pruning_client.checkpoints.opened import Checkpoint
from pruning_client.cli.server_options import check_local, connect, take_server_of_environment
from pruning_client.huggingface.folder import FilePruner
from pruning_client.results.capabilities import Capabilities
from pruning_client.results.report import Report
from pruning_client.rules.recipe import Recipe
from pruning_client.statistics.statistics import Statistics


class Service(FilePruner, Protocol):
    """The verbs that the command line uses: of a `Client`, and of a `LocalService`."""

    def dry_run(
        self,
        source: Checkpoint,
        rules: Recipe,
        *,
        statistics: Statistics | None = None,
        digests: bool = False,
        progress: Watcher | None = None,
    ) -> Report:
        """Return the report of a run that writes nothing."""

    def scan(
        self,
        source: Checkpoint,
        rules: Recipe,
        *,
        sparsities: Sequence[float] = (),
        statistics: Statistics | None = None,
    ) -> Report:
        """Return the predicted error of each selected tensor over sparsity."""

    def capabilities(self) -> Capabilities:
        """Return the methods, outputs, dtypes and limits."""


def open_service(options: Namespace) -> AbstractContextManager[Service]:
    """Return the service, to be used inside the block.

    Raises: UsageError if the options do not fit each other. OSError if a file cannot be read. UnavailableError if no
    server is named, and the packages that a local run needs are not installed.
    """
    take_server_of_environment(options)
    if options.server is not None:
        return connect(options)
    check_local(options)
    from pruning_client.local.client import LocalClient  # noqa: PLC0415

    return LocalClient(timeout=options.timeout)
