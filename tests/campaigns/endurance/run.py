"""Honest clients of every kind for a long time: none is lost, nothing adds up, and nobody waits longer than before.

`secured` has TLS and tokens, and its certificate is renewed meanwhile. `beside_hostile` has no security, so that
hostile callers reach all of it, and compares how long honest ones wait beside them with how long they wait alone.
"""

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pruning_client import Client
from pruning_proto.limits import MIB
from tests.campaigns.endurance.honest import KINDS, LARGEST, LARGEST_KIND, RETRIES, Access, Caller, Kind
from tests.campaigns.endurance.materials import Materials, made_in
from tests.campaigns.endurance.observation import Curve, Held, curve_of, held, quantile
from tests.campaigns.figures import Figures, Tally
from tests.campaigns.observed import seconds_until_free
from tests.client.certificates import made_in as certificates_in
from tests.servers import ServerProcess, server_as_in_the_image
from tests.service.secured import TOKEN, over_tls, token_file, written_anew

RENEWALS: Final = 20
MOST_GROWTH_BYTES: Final = 30 * MIB
MOST_NEW_THREADS: Final = 12
"""gRPC and pools begin threads when more wait than before, up to their sizes: a leak would be far more in an hour."""

MOST_SLOWER: Final = 3.0
"""What honest clients may wait beside hostile ones, at most, compared with what they wait alone."""

_SETTINGS: Final = {"memory_bytes": str(6 << 30), "threads": "2", "lease_seconds": "5"}
_IDLE_SECONDS: Final = "10"
"""Less than by default, so that more hostile streams come and go; more than an honest client ever waits for a core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How long a run is, and how large. `largest_bytes`: of the largest model, pruned by one client at a time."""

    seconds: float
    clients: int = 16
    largest_bytes: int = 2_000_000_000
    seed: int = 1
    rest_seconds: float = 40.0


@dataclass(slots=True)
class _Run:
    """Clients under way."""

    form: Form
    access: Access
    materials: Materials
    folder: Path
    tally: Tally
    over: threading.Event = field(default_factory=threading.Event)
    expected: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    largest: threading.Lock = field(default_factory=threading.Lock)

    def every_kind_once(self) -> None:
        """Learn what each kind's result is, on a server that does nothing else."""
        with self._client() as client:
            for number, name in enumerate([*KINDS, LARGEST]):
                self._attempt(name, self._caller(client, "first", number))

    def keep_calling(self, worker: int) -> None:
        """Be one client: a kind by chance, again and again."""
        chance = random.Random(self.form.seed * 1000 + worker)  # noqa: S311 - a repeatable choice, no secret
        with self._client() as client:
            number = 0
            while not self.over.is_set():
                number += 1
                is_largest = chance.random() < 0.02 and self.largest.acquire(blocking=False)
                name = LARGEST if is_largest else chance.choice(list(KINDS))
                try:
                    self._attempt(name, self._caller(client, f"worker-{worker}", number))
                finally:
                    if is_largest:
                        self.largest.release()

    def _attempt(self, name: str, caller: Caller) -> None:
        kind: Kind = KINDS.get(name, LARGEST_KIND)
        wrong = None
        try:
            found = kind(caller)
        except Exception as error:  # noqa: BLE001 - whatever it is, this call was lost
            wrong = f"{name}: {type(error).__name__}: {error}"
        else:
            expected = self.expected.setdefault(name, found)
            wrong = None if found == expected else f"{name}: {found[:200]} instead of {expected[:200]}"
        finally:
            caller.target.unlink(missing_ok=True) if caller.target.is_file() else None
        with self.lock:
            self.tally.note(wrong)
            self.counts[name] = self.counts.get(name, 0) + 1

    def _client(self) -> Client:
        return Client(self.access.address, retries=RETRIES, timeout=600, **self.access.arguments)

    def _caller(self, client: Client, name: str, number: int) -> Caller:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return Caller(client, self.access, self.materials, folder, f"{name}-{self.form.seed}", number)


def secured(folder: Path, form: Form) -> Figures:
    """Run honest clients for a while on a server with TLS and tokens."""
    tally = Tally()
    materials = made_in(folder, form.largest_bytes)
    certificates = certificates_in(folder)
    security = over_tls(certificates.server, token_file=str(token_file(folder)))
    with server_as_in_the_image(**_SETTINGS, **security, stores=materials.jobs.as_uri()) as server:
        access = Access.secured(server.address, certificates.ca, TOKEN)
        run = _Run(form, access, materials, folder, tally)
        run.every_kind_once()
        _warm(run)
        before = _at_rest(server, form)
        pair = [(path, path.read_bytes()) for path in (certificates.server.key, certificates.server.certificate)]

        def renew() -> None:
            for path, content in pair:
                written_anew(path, content)

        with _probing(server.address, run, certificates.ca) as seconds, curve_of(server) as curve:
            _under_way(run, form.seconds, renew)
        with tally.trying("free again"):
            seconds_until_free(server)
        after = _at_rest(server, form)
        _compare(tally, before, after)
        _note_slope(tally, curve)
        tally.measured += [_waits(tally, seconds[0]), _counted(run)]
    return tally.figures(f"{form.clients} honest clients, {form.seconds / 60:g} minutes")


def beside_hostile(folder: Path, form: Form, callers: int = 16) -> Figures:
    """Run a honest mix alone for a tenth of the time, then beside hostile callers."""
    tally = Tally()
    materials = made_in(folder, form.largest_bytes)
    settings = {**_SETTINGS, "idle_seconds": _IDLE_SECONDS}
    with server_as_in_the_image(**settings, stores=materials.jobs.as_uri()) as server:
        run = _Run(form, Access(server.address, {}), materials, folder, tally)
        run.every_kind_once()
        _warm(run)
        before = _at_rest(server, form)
        with _probing(server.address, run) as alone:
            _under_way(run, form.seconds / 10)
        hostile = _hostile(server.address, callers, form.seed)
        with hostile, curve_of(server) as curve, _probing(server.address, run) as beside:
            _under_way(run, form.seconds)
        with tally.trying("free again"):
            seconds_until_free(server)
        after = _at_rest(server, form)
        _compare(tally, before, after)
        _note_slope(tally, curve)
        quiet, loud = (quantile(each[0]["seconds"], 0.99) for each in (alone, beside))
        slower = f"p99 of small calls {1000 * quiet:.0f} ms alone, {1000 * loud:.0f} ms beside: {loud / quiet:.1f} x"
        tally.note(None if loud <= MOST_SLOWER * quiet else slower)
        _waits(tally, alone[0])
        tally.measured += [slower, _waits(tally, beside[0]), _counted(run)]
    return tally.figures(f"honest beside {callers} hostile callers, {form.seconds / 60:g} minutes")


def _warm(run: _Run) -> None:
    """Have all clients call for a moment: threads begin, and are counted as what a server has."""
    _under_way(run, min(30.0, run.form.seconds / 10))
    run.over.clear()


def _under_way(run: _Run, seconds: float, renew: Callable[[], None] | None = None) -> None:
    """Keep all clients calling for a while."""
    run.over.clear()
    with ThreadPoolExecutor(run.form.clients) as pool:
        workers = [pool.submit(run.keep_calling, worker) for worker in range(run.form.clients)]
        for _ in range(RENEWALS):
            time.sleep(seconds / RENEWALS)
            if renew is not None:
                renew()
        run.over.set()
    for worker in workers:
        worker.result()


def _at_rest(server: ServerProcess, form: Form) -> Held:
    """Return what a server holds once it has had the time to give back what is free."""
    time.sleep(form.rest_seconds)
    return held(server)


def _note_slope(tally: Tally, curve: Curve) -> None:
    """Note how the heap grew while calls were under way, where it was looked at long enough."""
    if (slope := curve.slope()) is not None:
        tally.note(None if slope.is_zero else f"the heap grows: {slope}")
        tally.measured.append(f"heap {slope}, at most {max(curve.heap_bytes) / MIB:.0f} MiB")
        tally.measured.append(f"mean of each twelfth: {', '.join(f'{each:.0f}' for _, each in curve.blocks())} MiB")


def _counted(run: _Run) -> str:
    return f"{sum(run.counts.values()):,} calls of {len(run.counts)} kinds"


def _compare(tally: Tally, before: Held, after: Held) -> None:
    with tally.trying("heap at rest"):
        grown = after.heap_bytes - before.heap_bytes
        assert grown <= MOST_GROWTH_BYTES, f"{grown / MIB:.0f} MiB above before"
    with tally.trying("left over"):
        assert after.threads <= before.threads + MOST_NEW_THREADS, f"{before.threads} threads: {after.threads}"
        assert after.descriptors <= before.descriptors, f"{before.descriptors} descriptors: {after.descriptors}"
    tally.measured.append(f"at rest {before} before, {after} after")


def _waits(tally: Tally, found: dict[str, Any]) -> str:
    """Return how long small calls took in the first and the last quarter; note those that were lost."""
    seconds, failed = found["seconds"], found["failed"]
    tally.note(f"{len(failed)} small calls were lost: {failed[:3]}" if failed else None)
    quarter = max(1, len(seconds) // 4)
    first, last = (quantile(part, 0.99) for part in (seconds[:quarter], seconds[-quarter:]))
    return f"p99 of {len(seconds):,} calls of 10 kB: first quarter {1000 * first:.0f} ms, last {1000 * last:.0f} ms"


@contextmanager
def _probing(address: str, run: _Run, ca: Path | None = None) -> Iterator[list[dict[str, Any]]]:
    """Have a process make small calls while inside; the list then holds what it found."""
    found: list[dict[str, Any]] = []
    asked = {"address": address, "source": str(run.materials.small), "target": str(run.folder / "probed")}
    if ca is not None:
        asked |= {"ca": str(ca), "token": TOKEN}
    command = [sys.executable, "-m", "tests.campaigns.endurance.probe"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        try:
            yield found
        finally:
            output, _ = process.communicate(timeout=600)
            found.append(json.loads(output) if output else {"seconds": [0.0], "failed": ["the probe itself"]})


@contextmanager
def _hostile(address: str, callers: int, seed: int) -> Iterator[None]:
    """Have a process of hostile callers do its worst while inside."""
    command = [sys.executable, "-m", "tests.campaigns.endurance.hostile_mix", address, str(callers), str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()  # it misbehaves
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(120)
