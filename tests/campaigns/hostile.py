"""Hostile streams by the hundred: afterwards the server holds nothing, its memory is where it was, and it serves.

Each kind of stream is a function of a `Ground`: it does its worst for a second or two, and whatever the server says to
that is right as long as it ends. They come in waves of many at once, all kinds mixed, by a seed.
"""

import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from pruning_proto.limits import CHUNK_BYTES, HEADER_BYTES, MIB
from tests.campaigns.calls import encoded, line_to
from tests.campaigns.cuts import LOG_LINE, SCOPES, SMALL, model
from tests.campaigns.figures import Figures, Tally
from tests.campaigns.observed import anonymous_bytes, seconds_until_free
from tests.campaigns.wire import log_call, torn
from tests.servers import ServerProcess
from tests.service.raw import data, l1, options, with_header

SETTINGS = {"idle_seconds": "1", "queue_seconds": "2", "memory_bytes": str(1024 * MIB), "backlog_bytes": str(MIB)}
"""A server that soon loses patience, and whose memory the streams can fill."""

GROWTH_BYTES = 30 * MIB
"""What the heap may have grown by, at rest, from before the first stream to after the last.

Of a server as in the image. Python's own allocator keeps every 1 MiB of small objects in which one still lives, which
is 50 to 100 MiB once a hundred calls with headers of 8 MiB have run at the same time.
"""

REST_SECONDS = 5.0
"""After so long at rest the server has given back what it freed: it looks every two seconds."""

MISBEHAVING_SECONDS = 1.5


@dataclass(frozen=True)
class Ground:
    """What the hostile streams share, made once."""

    address: str
    chance: random.Random

    @cached_property
    def large_file(self) -> bytes:
        """8 MiB of weights, behind a header of less than 1 KiB."""
        return model(8, MIB // 16)

    @cached_property
    def large(self) -> list[bytes]:
        """A call whose result is as large as its model."""
        return encoded([options(self.large_file, SCOPES["local"]), *data(self.large_file, CHUNK_BYTES)])

    @cached_property
    def small(self) -> list[bytes]:
        """A call of a hundred bytes, in many messages."""
        return encoded([options(SMALL), *data(SMALL, 7)])

    @cached_property
    def small_on_the_wire(self) -> bytes:
        """The same as a client's connection carries it."""
        return log_call(self.address, self.small)

    @cached_property
    def huge_headers(self) -> list[list[bytes]]:
        """Calls whose headers are as large as they may be, each to be refused late or to cost much."""
        entry = b'"%d":{"dtype":"F32","shape":[0,1],"data_offsets":[0,0]},'
        many = b"{" + b"".join(entry % index for index in range(HEADER_BYTES // 64)) + b'"__metadata__":{}}'
        nested = b"[" * HEADER_BYTES
        text = b'{"__metadata__":{"a":"' + b"x" * (HEADER_BYTES - 25) + b'"}}'
        files = [with_header(header) for header in (many, nested, text)]
        return [encoded([options(content), *data(content, CHUNK_BYTES)]) for content in files]


Hostility: TypeAlias = Callable[[Ground], None]


def idle(ground: Ground) -> None:
    """Begin a call and say nothing."""
    with line_to(ground.address) as line:
        line.call(_then_silence([]))


def idle_after_the_header(ground: Ground) -> None:
    """Have the memory reserved, and send nothing for it."""
    with line_to(ground.address) as line:
        line.call(_then_silence([ground.large[0], *encoded(data(ground.large_file[:2000]))]))


def never_reading(ground: Ground) -> None:
    """Send a model and take nothing of its result."""
    with line_to(ground.address) as line:
        call = line.unread(ground.large)
        time.sleep(MISBEHAVING_SECONDS)
        call.cancel()


def never_reading_and_gone(ground: Ground) -> None:
    """The same, and the connection closes over it."""
    with line_to(ground.address) as line:
        call = line.unread(ground.large)
        time.sleep(ground.chance.random())
    del call  # gRPC cancels a call that nobody holds; this one ends with its connection


def slow(ground: Ground) -> None:
    """Send a few bytes at a time, and never the last."""
    with line_to(ground.address) as line:
        line.call(_slowly(ground.small[:-1]))


def huge_header(ground: Ground) -> None:
    """Send 8 MiB of JSON."""
    with line_to(ground.address) as line:
        line.call(ground.chance.choice(ground.huge_headers))


def huge_claim(ground: Ground) -> None:
    """Announce a pebibyte, then a header of 100 exabytes."""
    with line_to(ground.address) as line:
        line.call(encoded([options(SMALL, total_bytes=1 << 50), *data(SMALL)]))
        line.call(encoded([options(SMALL, total_bytes=1 << 50), *data(b"\xff" * 8)]))


def cancelled(ground: Ground) -> None:
    """Cancel somewhere on the way."""
    with line_to(ground.address) as line:
        line.cancelled(ground.large[: ground.chance.randrange(1, len(ground.large))])


def deaf_to_a_refusal(ground: Ground) -> None:
    """Be refused at once and send the whole model all the same."""
    wrong = options(b"", [l1(2.0)], total_bytes=1 << 30)
    with line_to(ground.address) as line:
        line.call([*encoded([wrong]), *ground.large[1:], *ground.large[1:]])


def connection_torn(ground: Ground) -> None:
    """Tear the connection anywhere."""
    sent = ground.small_on_the_wire
    end = ground.chance.randrange(len(sent))
    torn(ground.address, sent[:end], after_seconds=ground.chance.random(), reset=ground.chance.random() < 0.5)


def no_grpc_at_all(ground: Ground) -> None:
    """Speak HTTP/1, TLS, noise, or HTTP/2 without end."""
    noise = ground.chance.choice(
        [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            bytes.fromhex("16030100c8010000c40303") + ground.chance.randbytes(200),
            ground.chance.randbytes(4096),
            ground.small_on_the_wire[:24] + ground.chance.randbytes(4096),
            ground.small_on_the_wire[:24] + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 1000,
        ]
    )
    host, _, port = ground.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(noise)
        time.sleep(ground.chance.random())


def many_on_one_connection(ground: Ground) -> None:
    """Begin 20 calls on one connection, and close it over them."""
    with line_to(ground.address) as line:
        calls = [line.unread(ground.small[: ground.chance.randrange(len(ground.small))]) for _ in range(20)]
        time.sleep(ground.chance.random())
    del calls


KINDS: tuple[Hostility, ...] = (
    idle,
    idle_after_the_header,
    never_reading,
    never_reading_and_gone,
    slow,
    huge_header,
    huge_claim,
    cancelled,
    deaf_to_a_refusal,
    connection_torn,
    no_grpc_at_all,
    many_on_one_connection,
)


def hostile_streams(server: ServerProcess, *, streams: int, at_once: int, seed: int = 1) -> Figures:
    """Start `streams` streams, `at_once` at a time, the kinds in turn, on a server with `SETTINGS`."""
    tally = Tally()
    ground = Ground(server.address, random.Random(seed))  # noqa: S311 - a repeatable choice, no secret
    _serves(server)
    assert ground.small_on_the_wire  # recorded while there is peace
    heaps = {"before": _at_rest(server)}
    waves = [range(begin, begin + at_once) for begin in range(0, streams, at_once)]
    heaps["at the most"] = max(_wave(server, ground, tally, wave) for wave in waves)
    heaps["at rest after the last"] = _at_rest(server)
    with tally.trying("memory"):
        grown_bytes = heaps["at rest after the last"] - heaps["before"]
        assert grown_bytes < GROWTH_BYTES, f"the heap has grown by {grown_bytes / MIB:.0f} MiB"
    with tally.trying("still serving"):
        _serves(server)
    with tally.trying("the log has a line for each call, and no other"):
        others = [line.rstrip() for line in server.log[1:] if not LOG_LINE.search(line)]
        assert not others, f"{len(others)} lines: {others[:3]}"
    sizes = ", ".join(f"{held_bytes / MIB:.0f} {when}" for when, held_bytes in heaps.items())
    tally.measured.append(f"heap in MiB: {sizes}")
    return tally.figures(f"hostile streams, {at_once} at once")


def _at_rest(server: ServerProcess) -> int:
    """Return a server's memory once it has had the time to give back what is free."""
    time.sleep(REST_SECONDS)
    return anonymous_bytes(server.process.pid)


def _wave(server: ServerProcess, ground: Ground, tally: Tally, numbers: range) -> int:
    """Start one wave; wait until the server holds nothing of it; return its memory then."""
    with ThreadPoolExecutor(len(numbers)) as pool:
        kinds = [KINDS[number % len(KINDS)] for number in numbers]
        streams = [pool.submit(kind, ground) for kind in kinds]
    for kind, stream in zip(kinds, streams, strict=True):
        error = stream.exception()
        tally.note(None if error is None else f"{kind.__name__}: {error!r}")
    with tally.trying("free again"):
        seconds_until_free(server)
    return anonymous_bytes(server.process.pid)


def _serves(server: ServerProcess) -> None:
    with line_to(server.address) as line:
        outcome = line.call(encoded([options(SMALL), *data(SMALL)])).outcome
    assert outcome == "OK", outcome


def _then_silence(messages: list[bytes]) -> Iterator[bytes]:
    yield from messages
    time.sleep(2 * MISBEHAVING_SECONDS)


def _slowly(messages: list[bytes]) -> Iterator[bytes]:
    for message in messages:
        time.sleep(MISBEHAVING_SECONDS / len(messages))
        yield message
