"""Servers stopped under load, with a second one beside: killed (SIGKILL) or told to stop (SIGTERM).

Clients that try again finish on the other one, with the same result to the byte, directly and behind Envoy. And of a
server that is told to stop, a client without retries still gets whatever was under way.
"""

import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from pruning_proto.limits import MIB
from tests.campaigns.figures import Figures, Tally
from tests.campaigns.killed_clients import weights
from tests.campaigns.load import Call, Work, expected_digest, under_load
from tests.campaigns.observed import IN_FLIGHT, gauge, has_been_called
from tests.campaigns.proxies import envoy, free_port
from tests.servers import ServerProcess, running_server
from tests.service.raw import wait_until

MODEL_BYTES: Final = 48 * MIB
MOMENT_SECONDS: Final = 0.5
AFTERWARDS_SECONDS: Final = 0.5
"""How long the load goes on once a server has gone."""

RETRIES: Final = 5

PATHS: Final = ("directly", "Envoy")


class Pair:
    """Two servers at addresses that stay theirs, so that one that was stopped can come back."""

    def __init__(self) -> None:
        self.addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        self._stacks = [ExitStack(), ExitStack()]
        self.servers = [self._start(0), self._start(1)]

    def _start(self, which: int) -> ServerProcess:
        return self._stacks[which].enter_context(running_server(listen=self.addresses[which]))

    def start_again(self, which: int) -> None:
        """Wait for the end of one that was stopped, and start it anew."""
        self.servers[which].process.wait(60)
        self._stacks[which].close()
        self.servers[which] = self._start(which)

    def close(self) -> None:
        """Stop both."""
        for stack in self._stacks:
            stack.close()


@contextmanager
def pair_of_servers() -> Iterator[Pair]:
    """Run two servers while inside."""
    pair = Pair()
    try:
        yield pair
    finally:
        pair.close()


def taken_over(
    pair: Pair, folder: Path, client: str, path: str, number: signal.Signals, *, rounds: int, seed: int = 1
) -> Figures:
    """Stop the two servers in turn under the load of one client that tries again; no call may fail."""
    tally = Tally()
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice, no secret
    source = weights(folder / "source.safetensors", MODEL_BYTES)
    expected = expected_digest(pair.addresses[0], source, folder)
    calls: list[Call] = []
    with _addresses(pair, path, folder) as addresses:
        for turn in range(rounds):
            which = turn % 2
            work = Work(source, folder, RETRIES, threading.Event())
            with under_load(client, addresses, work, calls):
                stop_in_a_call(pair.servers[which], number, chance.uniform(0, MOMENT_SECONDS))
                time.sleep(AFTERWARDS_SECONDS)
            pair.start_again(which)
            if path == "Envoy":
                assert wait_until(partial(has_been_called, pair.servers[which], "Check")), "Envoy asks nobody's health"
    for call in calls:
        tally.note(None if call.digest == expected else call.error or "another result")
    tally.measured.append(f"{sum(call.attempts > 1 for call in calls)} calls begun again by the client")
    what = "killed" if number is signal.SIGKILL else "told to stop"
    return tally.figures(f"{rounds} servers {what} under load: {client}, {path}")


def drained(folder: Path, client: str, *, rounds: int, seed: int = 1) -> Figures:
    """Tell the only server there is to stop under the load of a client that never tries again.

    What the server had taken is finished; a call that came later is refused as UNAVAILABLE.
    """
    tally = Tally()
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice, no secret
    source = weights(folder / "source.safetensors", MODEL_BYTES)
    finished = 0
    for _ in range(rounds):
        calls: list[Call] = []
        with running_server() as server:
            expected = expected_digest(server.address, source, folder)
            work = Work(source, folder, 0, threading.Event())
            with under_load(client, [server.address], work, calls):
                stop_in_a_call(server, signal.SIGTERM, chance.uniform(0, MOMENT_SECONDS))
            status = server.process.wait(60)
        tally.note(None if status == 0 else f"the server ended with status {status}")
        for call in calls:
            is_late = not call.is_answered and call.error.startswith("UnavailableError")
            tally.note(None if call.digest == expected or is_late else call.error or "another result")
        finished += sum(call.digest == expected for call in calls)
    tally.measured.append(f"{finished} calls finished")
    return tally.figures(f"{rounds} servers told to stop under load, no retries: {client}")


@contextmanager
def _addresses(pair: Pair, path: str, folder: Path) -> Iterator[Sequence[str]]:
    if path == "directly":
        yield pair.addresses
        return
    with envoy(pair.addresses, folder) as address:
        yield [address]


def stop_in_a_call(server: ServerProcess, number: signal.Signals, after_seconds: float) -> None:
    """Send a signal to a server that has calls, so long after the first is seen."""
    assert wait_until(lambda: gauge(server, IN_FLIGHT) > 0), "no call came to this server"
    time.sleep(after_seconds)
    server.process.send_signal(number)
