"""Messages reordered, doubled, dropped, empty, oversized, garbage: each answered with the one thing that is wrong.

What a shuffled file amounts to is decided by the official parser: what it reads of the bytes that were sent, in
their order, is pruned; what it refuses is refused as a checkpoint.
"""

import random
from collections.abc import Iterator

import grpc
import safetensors

from pruning_proto.limits import MESSAGE_BYTES
from pruning_proto.reasons import TABLE, Family, Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.campaigns.calls import Ended, Line, encoded, line_to
from tests.campaigns.cuts import model
from tests.campaigns.figures import Figures, Tally
from tests.campaigns.observed import seconds_until_free
from tests.servers import ServerProcess
from tests.service.raw import data, options

CONTENT = model(3, 8)
MESSAGES = encoded([options(CONTENT), *data(CONTENT, 97)])

EMPTY_MESSAGE = b""
EMPTY_DATA = b"\x7a\x00"  # field 15, no byte
GARBAGE = b"\xff\xff\xff"  # a tag that does not end
UNKNOWN = b"\xc2\x0c\x01x"  # field 200
OVERSIZED = pb.PruneRequest(data=bytes(MESSAGE_BYTES + 1)).SerializeToString()

FOREIGN = {
    "an empty message": (EMPTY_MESSAGE, Reason.OPTIONS_FIRST, Reason.EMPTY_DATA),
    "empty data": (EMPTY_DATA, Reason.OPTIONS_FIRST, Reason.EMPTY_DATA),
    "garbage": (GARBAGE, Reason.MALFORMED_MESSAGE, Reason.MALFORMED_MESSAGE),
    "an unknown field": (UNKNOWN, Reason.UNSUPPORTED_FIELD, Reason.UNSUPPORTED_FIELD),
    "options again": (MESSAGES[0], None, Reason.UNEXPECTED_MESSAGE),
}
"""A message that does not belong -> itself, why it is refused as the first message, and why later."""


def foreign_messages(server: ServerProcess) -> Iterator[Figures]:
    """Put a message that does not belong before each message of a call, and after the last."""
    with line_to(server.address) as line:
        for name, (message, first, later) in FOREIGN.items():
            tally = Tally()
            for place in range(len(MESSAGES) + 1):
                expected = later if place else first or later
                outcome = line.call([*MESSAGES[:place], message, *MESSAGES[place:]]).outcome
                # after the last byte every further message is one too many, whatever it holds
                may_be = {expected, Reason.OVERLONG} if place == len(MESSAGES) else {expected}
                tally.note(None if outcome in may_be else f"before message {place}: {outcome}, not {expected}")
            yield _freed(server, tally, f"{name} at every place")
        yield _freed(server, _oversized(line), "an oversized message at every place")


def _oversized(line: Line) -> Tally:
    """gRPC itself refuses these, at its receive limit: a status, and no reason of ours."""
    tally = Tally()
    for place in range(len(MESSAGES) + 1):
        ended = line.call([*MESSAGES[:place], OVERSIZED, *MESSAGES[place:]])
        is_right = ended.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        tally.note(None if is_right else f"before message {place}: {ended.outcome}")
    return tally


def shuffled_messages(server: ServerProcess, *, calls: int, seed: int = 1) -> Figures:
    """Swap, double and drop the messages of a call at random."""
    tally = Tally()
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice, no secret
    with line_to(server.address) as line:
        for _ in range(calls):
            messages = _shuffled(chance)
            tally.note(_wrong(messages, line.call(messages)))
    return _freed(server, tally, "messages shuffled at random")


def _shuffled(chance: random.Random) -> list[bytes]:
    messages = list(MESSAGES)
    for _ in range(chance.randint(1, 3)):
        one, other = (chance.randrange(len(messages)) for _ in range(2))
        match chance.choice(("swap", "double", "drop")):
            case "swap":
                messages[one], messages[other] = messages[other], messages[one]
            case "double":
                messages.insert(other, messages[one])
            case "drop":
                messages.pop(one)
    return messages


def _wrong(messages: list[bytes], ended: Ended) -> str | None:
    """Say what is wrong with the answer to shuffled messages; None if nothing is."""
    requests = [pb.PruneRequest.FromString(message) for message in messages]
    kinds = [request.WhichOneof("message") for request in requests]
    content = b"".join(request.data for request in requests)
    if not kinds or kinds[0] != "options":
        return None if ended.outcome == Reason.OPTIONS_FIRST else f"{kinds}: {ended.outcome}"
    if "options" not in kinds[1:] and len(content) == len(CONTENT) and _is_sound(content):
        is_read = ended.outcome in ("OK", Reason.NAN_WEIGHTS)  # shifted by a byte, a weight may be one
        return None if is_read else f"a file that safetensors reads: {ended.outcome}"
    is_refused = ended.outcome in _CHECKPOINT or ended.outcome in (Reason.SELECTS_NOTHING, Reason.UNEXPECTED_MESSAGE)
    return None if is_refused else f"no such file, and yet {ended.outcome}"


_CHECKPOINT = {reason for reason, row in TABLE.items() if row.family is Family.CHECKPOINT}


def _is_sound(content: bytes) -> bool:
    try:
        safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        return False
    return True


def _freed(server: ServerProcess, tally: Tally, name: str) -> Figures:
    with tally.trying("free again"):
        tally.measured.append(f"free after {seconds_until_free(server):.2f} s")
    return tally.figures(name)
