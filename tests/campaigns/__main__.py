"""The campaigns in full: `python -m tests.campaigns [WORD ...]` runs those with a WORD in their names.

Each prints its figures. What is not installed here is said and left out. Exit status 1 if anything broke. The endurance
runs take `--minutes` each, and the others half an hour together.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from tests.campaigns import (
    cuts,
    disorder,
    grpc_js,
    headers,
    hostile,
    killed_clients,
    killed_jobs,
    load,
    proxies,
    refusals,
    replicas,
    stopped_servers,
)
from tests.campaigns.endurance.run import Form, beside_hostile, secured
from tests.campaigns.figures import Figures, complaints, table
from tests.campaigns.targets.refused_handlers import FULL, refused_handlers
from tests.servers import running_server, server_as_in_the_image

Campaign: TypeAlias = Callable[[Form], Iterable[Figures]]
"""`Form` is for the endurance runs; the other campaigns have one form."""

KILLS: Final = 100
REFUSALS: Final = 1000
STREAMS: Final = 1000
ROUNDS: Final = 10
REPLACEMENTS: Final = 5


def main() -> int:
    """Run what was asked for, and print each campaign's line as soon as it is there."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description="Try to break the service.")
    parser.add_argument("words", nargs="*", metavar="WORD", help=f"part of a name: {', '.join(CAMPAIGNS)}")
    parser.add_argument("--minutes", type=float, default=60.0, metavar="N", help="of each endurance run; default: 60")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the endurance runs; default: 1")
    asked = parser.parse_args()
    words, form = asked.words, Form(seconds=60 * asked.minutes, seed=asked.seed)
    chosen = [name for name in CAMPAIGNS if not words or any(word in name for word in words)]
    everything: list[Figures] = []
    for name in chosen:
        for figures in CAMPAIGNS[name](form):
            _say("\n".join(filter(None, [table([figures]).splitlines()[1], complaints(figures)])))
            everything.append(figures)
    _say(f"\n{table(everything)}")
    return 1 if any(figures.broken for figures in everything) else 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - figures are what this is run for


def _cuts(_: Form) -> Iterator[Figures]:
    with running_server() as server:
        yield from cuts.cut_at_every_byte(server)
        yield from cuts.cut_at_every_message(server)


def _disorder(_: Form) -> Iterator[Figures]:
    with running_server() as server:
        yield from disorder.foreign_messages(server)
        yield disorder.shuffled_messages(server, calls=3000)


def _headers(_: Form) -> Iterator[Figures]:
    with running_server() as server:
        yield from headers.fuzzed_headers(server, examples=5000)


def _hostile(_: Form) -> Iterator[Figures]:
    with server_as_in_the_image(**hostile.SETTINGS) as server:
        yield hostile.hostile_streams(server, streams=STREAMS, at_once=100)


def _killed_clients(_: Form) -> Iterator[Figures]:
    with running_server() as server, tempfile.TemporaryDirectory() as folder:
        yield killed_clients.killed_clients(server, Path(folder), kills=KILLS)


def _killed_jobs(_: Form) -> Iterator[Figures]:
    with tempfile.TemporaryDirectory() as folder:
        yield killed_jobs.killed_jobs(Path(folder), kills=KILLS)


def _stopped_servers(_: Form) -> Iterator[Figures]:
    with tempfile.TemporaryDirectory() as folder, stopped_servers.pair_of_servers() as pair:
        for path in stopped_servers.PATHS:
            for client in load.CLIENTS:
                for number in (signal.SIGKILL, signal.SIGTERM):
                    yield stopped_servers.taken_over(pair, Path(folder), client, path, number, rounds=ROUNDS)


def _drained_servers(_: Form) -> Iterator[Figures]:
    with tempfile.TemporaryDirectory() as folder:
        for client in load.CLIENTS:
            yield stopped_servers.drained(Path(folder), client, rounds=ROUNDS)


def _replicas(_: Form) -> Iterator[Figures]:
    for path in replicas.PATHS:
        for client in load.CLIENTS:
            with tempfile.TemporaryDirectory() as folder, replicas.replicas() as running:
                yield replicas.replaced(running, Path(folder), client, path, rounds=REPLACEMENTS)


def _refusals(_: Form) -> Iterator[Figures]:
    missing = {"nginx": proxies.nginx_binary() is None, "grpc-js": not grpc_js.is_installable()}
    for what, why in (("nginx", proxies.NGINX_MISSING), ("grpc-js", grpc_js.MISSING)):
        if missing[what]:
            _say(f"left out, {what}: {why}")
    with running_server() as server:
        for path in refusals.PATHS:
            for client in refusals.CLIENTS:
                if not (missing.get(path) or missing.get(client)):
                    with tempfile.TemporaryDirectory() as folder:
                        yield refusals.refusals(server, Path(folder), client, path, times=REFUSALS)


def _refused_handlers(_: Form) -> Iterator[Figures]:
    for reason in FULL:
        yield refused_handlers(reason)


def _endurance(form: Form) -> Iterator[Figures]:
    with tempfile.TemporaryDirectory() as folder:
        yield secured(Path(folder), form)


def _hostile_endurance(form: Form) -> Iterator[Figures]:
    with tempfile.TemporaryDirectory() as folder:
        yield beside_hostile(Path(folder), form)


CAMPAIGNS: Final[Mapping[str, Campaign]] = MappingProxyType(
    {
        "cuts": _cuts,
        "disorder": _disorder,
        "headers": _headers,
        "hostile": _hostile,
        "killed-clients": _killed_clients,
        "killed-jobs": _killed_jobs,
        "stopped-servers": _stopped_servers,
        "drained-servers": _drained_servers,
        "replicas": _replicas,
        "refusals": _refusals,
        "refused-handlers": _refused_handlers,
        "endurance": _endurance,
        "beside-hostile": _hostile_endurance,
    }
)


if __name__ == "__main__":
    sys.exit(main())
