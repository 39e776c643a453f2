"""Three servers under load, of which one is killed, one added and one drained while calls run. No call may fail.

They have one name, as behind a headless Service in Kubernetes: the same port at an IP address each, those of
127.0.0.0/8. Calls reach them by the client's own turns, or by Envoy, which asks their health.
"""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from pruning_proto.limits import MIB
from tests.campaigns.figures import Figures, Tally
from tests.campaigns.killed_clients import weights
from tests.campaigns.load import Call, Work, expected_digest, under_load
from tests.campaigns.names import Names, name_server
from tests.campaigns.observed import has_been_called
from tests.campaigns.proxies import envoy_by_name, free_port
from tests.campaigns.stopped_servers import stop_in_a_call
from tests.servers import ServerProcess, running_server
from tests.service.raw import wait_until

COUNT: Final = 3
MODEL_BYTES: Final = 8 * MIB
MOMENT_SECONDS: Final = 0.1
"""About as long as a call takes."""

FOUND_SECONDS: Final = 30
"""How long it may take until a server has a call. A client looks its name up at most every 5 s."""

RETRIES: Final = 5


class Replicas:
    """Servers behind one name, each with an address that no other had before: as pods have."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.port = free_port()
        self.serving: list[ServerProcess] = []
        """Those that nobody has stopped, the oldest first."""

        self._stack = ExitStack()
        self._last = 0

    def fill(self, count: int = COUNT) -> list[ServerProcess]:
        """Start as many as are missing, and update the name server; return those that are new."""
        added = [self._start() for _ in range(count - len(self.serving))]
        self.serving += added
        self.names.addresses = [server.address.rpartition(":")[0] for server in self.serving]
        return added

    def _start(self) -> ServerProcess:
        self._last += 1
        return self._stack.enter_context(running_server(listen=f"127.0.0.{self._last}:{self.port}"))

    def stop(self, number: signal.Signals, after_seconds: float) -> int:
        """Stop the oldest in the middle of its calls; the name still resolves to it. Return its exit status."""
        server = self.serving.pop(0)
        stop_in_a_call(server, number, after_seconds)
        return server.process.wait(60)

    def close(self) -> None:
        """Stop all."""
        self._stack.close()


@contextmanager
def replicas() -> Iterator[Replicas]:
    """Run three servers behind a name while inside."""
    with name_server() as names:
        running = Replicas(names)
        try:
            running.fill()
            yield running
        finally:
            running.close()


_Path: TypeAlias = Callable[[Replicas, Path], AbstractContextManager[str]]
"""Gives what to call."""


def _round_robin(running: Replicas, folder: Path) -> AbstractContextManager[str]:
    return nullcontext(running.names.target(running.port))


def _envoy(running: Replicas, folder: Path) -> AbstractContextManager[str]:
    return envoy_by_name(running.names, running.port, folder)


PATHS: Final[Mapping[str, _Path]] = MappingProxyType({"round-robin": _round_robin, "Envoy": _envoy})


def replaced(running: Replicas, folder: Path, client: str, path: str, *, rounds: int, seed: int = 1) -> Figures:
    """Kill one, add one and drain one, `rounds` times, under the load of one client that tries again."""
    tally = Tally()
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice, no secret
    running.fill()
    source = weights(folder / "source.safetensors", MODEL_BYTES)
    expected = expected_digest(running.serving[0].address, source, folder)
    calls: list[Call] = []
    found: list[float] = []
    work = Work(source, folder, RETRIES, threading.Event())
    with PATHS[path](running, folder) as address, under_load(client, [address], work, calls):
        for _ in range(rounds):
            running.fill()
            found.append(_seconds_until_called(running.serving))
            running.stop(signal.SIGKILL, chance.uniform(0, MOMENT_SECONDS))
            found.append(_seconds_until_called(running.fill()))
            status = running.stop(signal.SIGTERM, chance.uniform(0, MOMENT_SECONDS))
            tally.note(None if status == 0 else f"a drained server ended with status {status}")
        if path == "Envoy":
            with tally.trying("Envoy asks their health"):
                assert all(has_been_called(server, "Check") for server in running.serving)
    for call in calls:
        tally.note(None if call.digest == expected else call.error or "another result")
    begun_again = sum(call.attempts > 1 for call in calls)
    tally.measured.append(f"{begun_again} calls begun again by the client")
    tally.measured.append(f"every server called, within {max(found):.1f} s")
    return tally.figures(f"{rounds} times one of three killed, one added, one drained: {client}, {path}")


def _seconds_until_called(servers: list[ServerProcess]) -> float:
    """Wait until each has pruned; return how long that took. Raises: AssertionError if one is passed over."""
    begin = time.monotonic()
    for server in servers:
        assert wait_until(partial(has_been_called, server, "Prune"), FOUND_SECONDS), (
            f"no call came to {server.address} in {FOUND_SECONDS} s"
        )
    return time.monotonic() - begin
