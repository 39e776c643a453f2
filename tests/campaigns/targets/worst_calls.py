"""The worst that a caller may ask within a server's limits: calls that cost much to plan, by what they have many of.

Harmless: small files, and nothing that the limits do not allow. Each is the messages of one call, as bytes.
"""

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from pruning_proto import limits
from pruning_proto.limits import CHUNK_BYTES, MIB
from pruning_proto.v1 import pruning_pb2 as pb
from tests.benchmarks.health import WEIGHT, empty, filled, most_metadata
from tests.campaigns.calls import encoded
from tests.service.raw import data, file, l1, options, with_header

Messages = list[bytes]

UNKNOWN: Final = b"\xa0\x06\x01"
"""Field 100, a number, which no message has."""


def _many_names() -> bytes:
    """Return a file whose header is as large as it may be."""
    return with_header(filled(f"{{{WEIGHT},", lambda index: empty(f"layers.{index}.bias"), "}"), bytes(16))


def _call(content: bytes, rules: list[pb.Rule], **fields: object) -> Messages:
    return encoded([options(content, rules, **fields), *data(content, CHUNK_BYTES)])  # type: ignore[arg-type]


def header() -> Messages:
    """Return a call for all tensors of the largest header, which compete."""
    content = with_header(filled(f"{{{WEIGHT},", lambda index: empty(f"a.weight{index}"), "}"), bytes(16))
    rule = l1(0.5, scope=pb.SCOPE_GLOBAL, select=pb.Selector(include=["a.weight*"]))
    return _call(content, [rule])


def metadata() -> Messages:
    """Return a call with as many keys of metadata as are allowed, which fill the largest header."""
    return _call(with_header(most_metadata(), bytes(16)), [l1(0.5, select=pb.Selector(include=["a.weight"]))])


def history() -> Messages:
    """Return a call whose file has a history as long as a header may be, of many rounds."""
    rounds = "[" + ",".join(['{\\"recipe\\":{}}'] * 500_000) + "]"
    text = f'{{{WEIGHT},"__metadata__":{{"pruning.v1":"{rounds}"}}}}'.encode()
    return _call(with_header(text, bytes(16)), [l1(0.5, select=pb.Selector(include=["a.weight"]))])


def patterns() -> Messages:
    """Return a call of as many patterns as are allowed, each matched with every name of the largest header."""
    globs = [f"*l*a*y*e*r*s*{index}*x" for index in range(limits.PATTERNS - 1)]
    return _call(_many_names(), [l1(0.5, select=pb.Selector(include=["a.weight", *globs]))])


def regular_expressions() -> Messages:
    """Return a call of as many and as long regular expressions as are allowed, of groups and repetitions."""
    longest = [f"re:{'(a|b)*' * 600}{index}"[: limits.PATTERN_BYTES] for index in range(limits.REGULAR_EXPRESSIONS)]
    return _call(_many_names(), [l1(0.5, select=pb.Selector(include=["a.weight", *longest]))])


def capture_groups() -> Messages:
    """Return a call of one regular expression of as many groups as fit."""
    content = file({"a.weight": ("F32", [2, 2], bytes(16))})
    expression = "re:a.weight" + "()" * ((limits.PATTERN_BYTES - 11) // 2)
    return _call(content, [l1(0.5, select=pb.Selector(include=[expression]))])


def aliases() -> Messages:
    """Return a call of as many aliases as are allowed, and patterns that are matched with each."""
    content = file({"a.weight": ("F32", [2, 2], bytes(16))})
    globs = [f"*a*l*i*a*s*{index}x" for index in range(limits.PATTERNS - 1)]
    names = {f"alias.of.a.weight.{index}": "a.weight" for index in range(limits.ALIASES)}
    return _call(content, [l1(0.5, select=pb.Selector(include=["a.weight", *globs]))], aliases=names)


def groups() -> Messages:
    """Return a call of as many groups of channels as the options hold."""
    count = 60_000
    content = file({"a.weight": ("F32", [2 * count, 1], bytes(8 * count))})
    each = [
        pb.Group(ties=[pb.Tie(tensor="a.weight", indices=[2 * index, 2 * index + 1])], units=2)
        for index in range(count)
    ]
    return _units(content, each)


def indices() -> Messages:
    """Return a call of one group with as many indices as the options hold."""
    count = 600_000
    content = file({"a.weight": ("F32", [count, 1], bytes(4 * count))})
    return _units(content, [pb.Group(ties=[pb.Tie(tensor="a.weight", indices=range(count))], units=count)])


def _units(content: bytes, each: list[pb.Group]) -> Messages:
    rule = l1(0.5, granularity=pb.Granularity(units=pb.Units(groups=each)))
    return _call(content, [rule])


def unknown_options() -> Messages:
    """Return a call whose options have as many unknown fields as fit."""
    content = file({"a.weight": ("F32", [2, 2], bytes(16))})
    known = options(content).options.SerializeToString()
    body = known + UNKNOWN * ((limits.OPTIONS_BYTES - len(known)) // len(UNKNOWN) - 1)
    return [b"\x0a" + _varint(len(body)) + body, *encoded(data(content))]


def unknown_data() -> Messages:
    """Return a call with a message of data that is unknown fields but for one byte."""
    content = file({"a.weight": ("F32", [2, 2], bytes(16))})
    more = UNKNOWN * ((limits.MESSAGE_BYTES - MIB) // len(UNKNOWN))
    first, *rest = encoded(data(content))
    return [*encoded([options(content)]), first + more, *rest]


def weights() -> Messages:
    """Return a call for 64 MiB of weights that compete."""
    count = 16
    content = file({f"{index}.weight": ("F32", [1024, 1024], _noise(4 * MIB)) for index in range(count)})
    return _call(content, [l1(0.5, scope=pb.SCOPE_GLOBAL)])


def _noise(size: int) -> bytes:
    block = struct.pack("<256f", *((index * 2654435761 % 1000) / 1000 - 0.5 for index in range(256)))
    return block * (size // len(block))


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


WORST: Final[Mapping[str, Callable[[], Messages]]] = MappingProxyType(
    {
        "largest header, all selected": header,
        "largest header of metadata": metadata,
        "longest history": history,
        "1,000 patterns, largest header": patterns,
        "100 expressions, largest header": regular_expressions,
        "an expression of 2,000 groups": capture_groups,
        "10,000 aliases, 1,000 patterns": aliases,
        "60,000 groups of channels": groups,
        "600,000 indices": indices,
        "unknown fields in the options": unknown_options,
        "unknown fields beside data": unknown_data,
        "64 MiB of weights": weights,
    }
)
