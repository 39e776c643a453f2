"""The process that carries out one job: `python -P -m pruning_client.jobs PLACE NAME OWNER`.

It ends when its standard input does, which the system closes when its server ends in whatever way. On standard output
it says once in a while, and at its end, what it did: one JSON object per line.
"""

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Self

from pruning_service.jobs.state import JobState

MODULE: Final = "pruning_client.jobs"

LINE_BYTES: Final = 64 * 1024
"""The longest line that is read of what a worker says."""

_log = logging.getLogger(__name__)


class WorkerProcess:
    """A running worker. Its server is the only one that can end it without the store."""

    def __init__(self, process: Process, said: Callable[[dict[str, Any]], object]) -> None:
        self._process = process
        self._reading = asyncio.create_task(_read(process, said))

    @classmethod
    async def start(
        cls, job: JobState, owner: str, environment: Mapping[str, str], said: Callable[[dict[str, Any]], object]
    ) -> Self:
        """Start a worker for a lease that `owner` holds; `said` is called with each object. Raises: OSError."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", MODULE, str(job.store.uri), job.name, owner),
            env=environment,
            stdin=PIPE,
            stdout=PIPE,
            limit=LINE_BYTES,
            start_new_session=True,  # Ctrl-C at the server's terminal is for the server, which then asks it to stop
        )
        return cls(process, said)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ended(self) -> int:
        """Wait until it has ended, and return its exit status; negative: the signal that ended it."""
        status = await self._process.wait()
        await self._reading
        return status

    def ask_to_stop(self) -> None:
        """Have it give its lease back and end, within seconds."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def kill(self) -> None:
        """End it at once; it writes nothing any more when this returns."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self.ended()


async def _read(process: Process, said: Callable[[dict[str, Any]], object]) -> None:
    """Read what a worker says until it ends; lines that are none of its own are left out."""
    if process.stdout is None:
        return
    while True:
        try:
            line = await process.stdout.readline()
        except ValueError:  # a longer line
            continue
        if not line:
            return
        with suppress(ValueError):
            fields = json.loads(line)
            if isinstance(fields, dict):
                said(fields)
