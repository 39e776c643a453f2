"""The client of a divided job: a local one, whose calls are carried out in parts where they can be."""

from os import PathLike
from typing import Any

from pruning_client.calls.request import Rules
from pruning_client.calls.sinks import Target
from pruning_client.checkpoints.opened import Checkpoint
from pruning_client.checkpoints.split import SplitFiles
from pruning_client.jobs.divided.connection import DividedConnection, DividedRun
from pruning_client.local.client import LocalClient
from pruning_client.results.report import Report


class DividedClient(LocalClient):
    """A `LocalClient` of one job. Raises: as a `LocalClient`."""

    def __init__(self, run: DividedRun, *, timeout: float | None = None) -> None:
        self._run_of_job = run
        super().__init__(timeout=timeout)

    def _connect(self) -> None:
        super()._connect()
        self._connection = self._divided = DividedConnection(self._connection, self._run_of_job)

    @property
    def why_undivided(self) -> str | None:
        """Why the last call with a result was not carried out in parts; None if it was."""
        return self._divided.why_undivided

    def prune_file(
        self, source: str | PathLike[str] | Checkpoint, target: Target, rules: Rules, **options: Any
    ) -> Report:
        """Prune a checkpoint as `Client.prune_file`; in parts, if the target is in several files of a store."""
        self._divided.target = target if isinstance(target, SplitFiles) else None
        return super().prune_file(source, target, rules, **options)
