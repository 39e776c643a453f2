"""The stream cut: at every message and at every byte, by a half-close, a cancellation, a connection torn.

A file cut short is TRUNCATED, wherever; only the whole one is OK. However a call ends, nothing stays reserved, and the
log has its line and no traceback.
"""

import math
import re
import struct
from collections.abc import Callable, Iterator

from pruning_proto.v1 import pruning_pb2 as pb
from tests.campaigns.calls import encoded, line_to
from tests.campaigns.figures import Figures, Tally
from tests.campaigns.observed import seconds_until_free
from tests.campaigns.wire import log_call, torn
from tests.servers import ServerProcess
from tests.service.raw import data, file, l1, options

LOG_LINE = re.compile(r"prune request_id=\w+ .*outcome=(\w+)")


def model(tensors: int, columns: int) -> bytes:
    """A file of `tensors` matrices of 4 rows, and biases that no rule selects."""
    weights = {
        f"{index}.weight": ("F32", [4, columns], struct.pack(f"<{4 * columns}f", *map(math.sin, range(4 * columns))))
        for index in range(tensors)
    }
    return file({**weights, "0.bias": ("F32", [columns], bytes(4 * columns))})


SMALL = model(1, 4)
MANY = model(20, 1024)
"""20 matrices of 16 KiB: 87 messages of 4 KiB."""

SCOPES = {"local": [l1(0.5)], "global": [l1(0.5, scope=pb.SCOPE_GLOBAL)]}


def cut_at_every_byte(server: ServerProcess, *, every: int = 1) -> Iterator[Figures]:
    """Cut a small model after each byte of the file, then its connection after each byte of the wire."""
    opening = encoded([options(SMALL, SCOPES["global"])])
    cuts = [SMALL[:end] for end in range(0, len(SMALL) + 1, every)]
    yield _half_closed(server, "half-closed at every byte", [[*opening, *encoded(data(cut))] for cut in cuts], SMALL)
    yield _cancelled(server, "cancelled at every byte", [[*opening, *encoded(data(cut))] for cut in cuts])
    sent = log_call(server.address, [*opening, *encoded(data(SMALL))])
    yield _torn(server, "connection closed at every byte", sent, every, after_seconds=0.004, reset=False)
    yield _torn(server, "connection reset at every byte", sent, every, after_seconds=0.0, reset=True)


def cut_at_every_message(server: ServerProcess, *, every: int = 1) -> Iterator[Figures]:
    """Cut a model of many messages after each of them, with rules of local and of global scope."""
    for scope, rules in SCOPES.items():
        messages = encoded([options(MANY, rules), *data(MANY, 4096)])
        cuts = [messages[:end] for end in [*range(1, len(messages), every), len(messages)]]
        yield _half_closed(server, f"half-closed at every message, {scope}", cuts, MANY)
        yield _cancelled(server, f"cancelled at every message, {scope}", cuts)


def _half_closed(server: ServerProcess, name: str, cuts: list[list[bytes]], whole: bytes) -> Figures:
    tally = Tally()
    with line_to(server.address) as line:
        for messages in cuts:
            sent_bytes = sum(len(pb.PruneRequest.FromString(message).data) for message in messages)
            expected = "OK" if sent_bytes == len(whole) else "TRUNCATED"
            outcome = line.call(messages).outcome
            tally.note(None if outcome == expected else f"after {sent_bytes} bytes: {outcome}, not {expected}")
    return _freed(server, tally, name)


def _cancelled(server: ServerProcess, name: str, cuts: list[list[bytes]]) -> Figures:
    def cut() -> None:
        with line_to(server.address) as line:
            for messages in cuts:
                outcome = line.cancelled(messages).outcome
                tally.note(None if outcome.startswith("CANCELLED") else f"after {len(messages)} messages: {outcome}")

    tally = Tally()
    return _freed(server, tally, name, _outcomes(server, cut, tally, {"CANCELLED", "TRUNCATED", "OK"}))


def _torn(server: ServerProcess, name: str, sent: bytes, every: int, *, after_seconds: float, reset: bool) -> Figures:
    def cut() -> None:
        for end in range(0, len(sent) + 1, every):
            torn(server.address, sent[:end], after_seconds=after_seconds, reset=reset)
            tally.note(None)

    tally = Tally()
    return _freed(server, tally, name, _outcomes(server, cut, tally, {"CANCELLED", "OK"}))


def _outcomes(server: ServerProcess, cut: Callable[[], None], tally: Tally, expected: set[str]) -> str:
    """Do what ends calls; hold the log's new lines against the outcomes that there may be, and count them."""
    begin = len(server.log)
    cut()
    seconds_until_free(server)
    found: dict[str, int] = {}
    for line in server.log[begin:]:
        match = LOG_LINE.search(line)
        outcome = match[1] if match else "other lines"
        found[outcome] = found.get(outcome, 0) + 1
        if outcome not in expected:
            tally.broken.append(f"the log says {line.rstrip()}")
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(found.items()))


def _freed(server: ServerProcess, tally: Tally, name: str, measured: str = "") -> Figures:
    """Close the count: everything is free again, and the server prunes."""
    with tally.trying("free again"):
        tally.measured.append(f"free after {seconds_until_free(server):.2f} s")
    with tally.trying("still serving"), line_to(server.address) as line:
        assert line.call(encoded([options(SMALL), *data(SMALL)])).outcome == "OK"
    tally.measured += [measured] if measured else []
    return tally.figures(name)
