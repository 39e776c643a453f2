"""Load: clients that prune one file over and over, several at once, and what came of each of their calls."""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from pruning_client import AsyncClient, Client, Progress, rules
from pruning_client.errors import PruningError

AT_ONCE: Final = 3
RULE: Final = rules.l1_unstructured(0.5, scope="global")


@dataclass
class Call:
    """One call: the digest of its result or what it failed with, and what its client saw on the way."""

    digest: str = ""
    error: str = ""
    attempts: int = 1
    is_answered: bool = False
    """Whether a plan came: the server had taken the call."""

    def watch(self, progress: Progress) -> None:
        """Take what the client reports."""
        self.attempts = progress.attempt
        self.is_answered = self.is_answered or progress.result_bytes is not None


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done: a file, a folder for the results, how often a call may be tried again, and when to stop."""

    source: Path
    folder: Path
    retries: int
    stop: threading.Event

    def target(self, worker: int) -> Path:
        """Where one worker's results go."""
        return self.folder / f"result{worker}.safetensors"


Caller: TypeAlias = Callable[[Sequence[str], Work], list[Call]]
"""Calls servers at addresses until `stop` is set; gives every call."""


def by_client(addresses: Sequence[str], work: Work) -> list[Call]:
    """Call with one `Client` from several threads."""

    def keep_calling(worker: int) -> list[Call]:
        calls = []
        while not work.stop.is_set():
            calls.append(call := Call())
            try:
                client.prune_file(work.source, work.target(worker), RULE, progress=call.watch)
                call.digest = digest(work.target(worker))
            except PruningError as error:
                call.error = _told(error)
        return calls

    with Client(addresses, insecure=True, retries=work.retries) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        return [call for calls in pool.map(keep_calling, range(AT_ONCE)) for call in calls]


def by_async_client(addresses: Sequence[str], work: Work) -> list[Call]:
    """Call with one `AsyncClient` from several tasks."""

    async def keep_calling(client: AsyncClient, worker: int) -> list[Call]:
        calls = []
        while not work.stop.is_set():
            calls.append(call := Call())
            try:
                await client.prune_file(work.source, work.target(worker), RULE, progress=call.watch)
                call.digest = await asyncio.to_thread(digest, work.target(worker))
            except PruningError as error:
                call.error = _told(error)
        return calls

    async def several() -> list[Call]:
        async with AsyncClient(addresses, insecure=True, retries=work.retries) as client:
            calls = await asyncio.gather(*(keep_calling(client, worker) for worker in range(AT_ONCE)))
        return [call for each in calls for call in each]

    return asyncio.run(several())


CLIENTS: Final[Mapping[str, Caller]] = MappingProxyType({"Client": by_client, "AsyncClient": by_async_client})


@contextmanager
def under_load(client: str, addresses: Sequence[str], work: Work, calls: list[Call]) -> Iterator[None]:
    """Keep one client calling while inside, and until its last calls have ended."""
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(CLIENTS[client], addresses, work)
        try:
            yield
        finally:
            work.stop.set()
            calls += load.result(120)


def expected_digest(address: str, source: Path, folder: Path) -> str:
    """Return the digest of what one server makes of a file, undisturbed."""
    target = folder / "expected.safetensors"
    with Client(address) as client:
        client.prune_file(source, target, RULE)
    return digest(target)


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _told(error: PruningError) -> str:
    return " / ".join([f"{type(error).__name__} {error.reason}: {error}", *getattr(error, "__notes__", [])])
