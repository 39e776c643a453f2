"""Processes of jobs killed again and again, at any moment: workers and their servers, in turns.

After any number of kills a job ends with the bytes of one that nothing happened to, or with a reason, and nothing of it
is half there.
"""

import random
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # it ships no types

from pruning_client import Client, Report
from tests.campaigns.figures import Figures, Tally
from tests.servers import ServerProcess, running_server
from tests.system import jobs as case

MOMENT_SECONDS: Final = 2.0
"""A kill comes within this time of the one before: a little more than an attempt takes."""

KILLS_OF_A_JOB: Final = 4


def killed_jobs(folder: Path, *, kills: int, seed: int = 1) -> Figures:
    """Kill a process of jobs `kills` times, and look at what came of each job."""
    chance, tally = random.Random(seed), Tally()  # noqa: S311 - a repeatable choice, no secret
    case.model(folder / "in")
    succeeded = 0
    with ExitStack() as stack:
        victim = _Victim(folder, stack)
        victim.begin("undisturbed")
        assert victim.ended("undisturbed") == "succeeded"
        expected = case.content(folder / "undisturbed")
        for job in range(max(1, kills // KILLS_OF_A_JOB)):
            name = f"killed-{job}"
            victim.begin(name)
            for _ in range(min(kills, KILLS_OF_A_JOB)):
                time.sleep(chance.uniform(0, MOMENT_SECONDS))
                victim.kill(is_server=chance.random() < 0.5)
            state = victim.ended(name)
            succeeded += state == "succeeded"
            tally.note(_wrong(name, state, folder / name, expected))
    died = f"{victim.workers} workers and {victim.servers} servers died"
    tally.measured.append(f"{died}, {succeeded} jobs succeeded")
    return tally.figures("processes of jobs killed")


class _Victim:
    """A server that is started again whenever it was killed, and the jobs that it carries out."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._server = self._started()
        self.workers = self.servers = 0

    def begin(self, name: str) -> None:
        """Begin a job."""
        with Client(self._server.address) as client:
            case.begun(client, self._folder, name)

    def ended(self, name: str) -> str:
        """Wait for the end of a job, and return its state; of one without a result, its reason too."""
        with Client(self._server.address) as client:
            job = client.job(name)
            outcome = case.ended(job)
        return job.state if isinstance(outcome, Report) else f"{job.state}: {outcome.reason}: {outcome}"

    def kill(self, *, is_server: bool) -> None:
        """Kill the worker, or the server: if that is wanted, or there is no worker at the moment."""
        worker = next(iter(case.workers_of(self._server)), None)
        if worker is not None and not is_server:
            self.workers += 1
            with suppress(psutil.NoSuchProcess):
                worker.kill()
            return
        self.servers += 1
        self._server.stop(signal.SIGKILL)
        self._server = self._started()

    def _started(self) -> ServerProcess:
        return self._stack.enter_context(running_server(**case.settings(self._folder, job_attempts="50")))


def _wrong(name: str, state: str, target: Path, expected: dict[str, bytes]) -> str | None:
    """Return what is wrong with a job that has ended; None if nothing is."""
    if state == "succeeded":
        return None if case.content(target) == expected else f"{name} succeeded with other bytes"
    if not state.startswith("failed: JOB_ATTEMPTS_EXHAUSTED"):
        return f"{name} {state}"
    return f"{name} failed and left files" if target.exists() else None
