"""Headers made by hypothesis, through the server: what safetensors' own parser reads is taken, all else refused.

The exceptions are those of `tests/proto/safetensors/test_header_like_the_official_parser.py`, as are the strategies.
"""

import json
import struct

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from pruning_proto.reasons import TABLE, Family, Reason
from pruning_proto.safetensors import header as layout
from pruning_proto.v1 import pruning_pb2 as pb
from tests.campaigns.calls import Line, encoded, line_to
from tests.campaigns.figures import Figures, Tally
from tests.campaigns.observed import seconds_until_free
from tests.proto.safetensors.test_header_like_the_official_parser import (
    FIELDS,
    JSON,
    TENSORS,
    buffer_bytes_of,
    is_whole,
    read_by_them,
)
from tests.servers import ServerProcess
from tests.service.raw import data, options

IDENTITY = pb.Rule(score=pb.Score(identity=pb.Identity()), select=pb.Selector(include=["*"]))

ANY_FIELDS = st.tuples(
    st.dictionaries(st.text(max_size=2), FIELDS, max_size=2).map(lambda fields: json.dumps(fields).encode()),
    st.integers(0, 20),
)
ANY_BYTES = st.tuples(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()), st.just(0))
HEADER = b'{"__metadata__":{"k":"v"},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8],"x":[1e1]}}'
ONE_BYTE_CHANGED = st.tuples(
    st.builds(
        lambda place, byte: HEADER[:place] + bytes([byte]) + HEADER[place + 1 :],
        st.integers(0, len(HEADER) - 1),
        st.sampled_from(b'09-.eE,:[]{}"\\ \x00\x7f\xc3/'),
    ),
    st.sampled_from([8, 0]),
)
SOUND_FILES = st.lists(TENSORS.filter(is_whole), max_size=5, unique_by=lambda tensor: tensor[0]).map(
    lambda tensors: (layout.build(tensors, {"format": "pt"})[0][layout.PREFIX_BYTES :], buffer_bytes_of(tensors))
)
HEADERS = {
    "sound files": SOUND_FILES,
    "any fields": ANY_FIELDS,
    "any bytes": ANY_BYTES,
    "one byte changed": ONE_BYTE_CHANGED,
}

_REFUSES_THE_FILE = {reason for reason, row in TABLE.items() if row.family is Family.CHECKPOINT}
_DUPLICATE_KEY = Reason.DUPLICATE_NAME
"""The one thing that only we refuse and that these headers may hold."""


def fuzzed_headers(server: ServerProcess, *, examples: int, seed: int = 1) -> list[Figures]:
    """Send `examples` headers of each kind."""
    with line_to(server.address) as line:
        return [_fuzzed(server, line, kind, strategy, examples, seed) for kind, strategy in HEADERS.items()]


def _fuzzed(
    server: ServerProcess,
    line: Line,
    kind: str,
    strategy: st.SearchStrategy[tuple[bytes, int]],
    examples: int,
    seed: int,
) -> Figures:
    tally = Tally()
    outcomes = {"taken": 0, "refused": 0}

    @seeded(seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def send(header_and_size: tuple[bytes, int]) -> None:
        header, buffer_bytes = header_and_size
        is_sound = read_by_them(header, buffer_bytes) is not None
        outcome = _answer(line, header, buffer_bytes)
        outcomes["taken" if is_sound else "refused"] += 1
        tally.note(_wrong(header, buffer_bytes, outcome, is_sound=is_sound))

    send()
    with tally.trying("free again"):
        seconds_until_free(server)
    tally.measured.append(f"{outcomes['taken']:,} sound, {outcomes['refused']:,} not")
    return tally.figures(f"headers fuzzed: {kind}")


def _answer(line: Line, header: bytes, buffer_bytes: int) -> str:
    content = struct.pack("<Q", len(header)) + header + bytes(buffer_bytes)
    return line.call(encoded([options(content, [IDENTITY]), *data(content)])).outcome


def _wrong(header: bytes, buffer_bytes: int, outcome: str, *, is_sound: bool) -> str | None:
    """Say what is wrong with an answer: a reason about recipe and file together means that the file was read."""
    case = f"{header!r} with {buffer_bytes} bytes: {outcome}"
    if is_sound:
        is_taken = outcome == "OK" or (outcome in TABLE and TABLE[Reason(outcome)].family is Family.MISMATCH)
        return None if is_taken or outcome == _DUPLICATE_KEY else f"safetensors reads {case}"
    return None if outcome in _REFUSES_THE_FILE else f"safetensors refuses {case}"
