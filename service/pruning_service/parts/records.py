"""Records: what one process has found, as bytes that another one reads back from an object store.

    8 bytes    "PRUNPART"
    4 bytes    the version of this format
    4 bytes    the length of the text
    8 bytes    the length of the arrays
    32 bytes   BLAKE2b of the division that it belongs to
    32 bytes   BLAKE2b of everything else
    text       JSON: its kind, its part, fields, and the dtype and length of each array
    arrays     one after the other, little endian

Numbers are little endian. A record is read only if every byte of it is as it was written, and only for the division,
the kind and the part that it was written for. Nothing in it is code.
"""

import json
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_MAGIC: Final = b"PRUNPART"
_VERSION: Final = 1
_DIGEST_BYTES: Final = 32
_HEAD: Final = struct.Struct(f"<8sIIQ{_DIGEST_BYTES}s{_DIGEST_BYTES}s")
_DTYPES: Final = frozenset({"u1", "u2", "u4", "u8", "i8"})

MOST_BYTES: Final = 1 << 30
"""No record is longer."""


class RecordError(ValueError):
    """A record cannot be used: it is damaged, or of something else. Its work has to be done again."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """What one part of a phase has found. `fields` are of JSON; `arrays` are of unsigned or 64-bit integers."""

    fields: Mapping[str, Any]
    arrays: Sequence[Array] = field(default_factory=tuple)


def written(record: Record, division: bytes, kind: str, part: int) -> bytes:
    """Return a record as bytes. `division`: 32 bytes that name what it belongs to."""
    arrays = [np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for array in record.arrays]
    described = [[array.dtype.str[1:], len(array)] for array in arrays]
    text = json.dumps(
        {"kind": kind, "part": part, "fields": record.fields, "arrays": described}, default=_plain
    ).encode()
    body = b"".join([text, *(array.tobytes() for array in arrays)])
    lengths = len(text), len(body) - len(text)
    return _HEAD.pack(_MAGIC, _VERSION, *lengths, division, _digest(lengths, division, body)) + body


def read(data: bytes, division: bytes, kind: str, part: int) -> Record:
    """Return what a record says. Raises: RecordError if it is damaged, or of another division, kind or part."""
    name = f"the record of part {part} of {kind!r}"
    if len(data) < _HEAD.size or data[: len(_MAGIC)] != _MAGIC:
        raise RecordError(f"{name} does not begin as one: {len(data):,} bytes; delete it, and the part is done again")
    _, version, text_bytes, array_bytes, owner, digest = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise RecordError(f"{name} is of version {version}; this program reads version {_VERSION}")
    body = data[_HEAD.size :]
    if len(body) != text_bytes + array_bytes:
        raise RecordError(f"{name} has {len(data):,} bytes, and says {_HEAD.size + text_bytes + array_bytes:,}")
    if digest != _digest((text_bytes, array_bytes), owner, body):
        raise RecordError(f"{name} was changed after it was written; delete it, and the part is done again")
    if owner != division:
        raise RecordError(f"{name} is of another request, checkpoint, division or version of this program")
    said = json.loads(body[:text_bytes])
    if (said["kind"], said["part"]) != (kind, part):
        raise RecordError(f"{name} is of part {said['part']} of {said['kind']!r}")
    return Record(said["fields"], _arrays(memoryview(body)[text_bytes:], said["arrays"]))


def fingerprint(*contents: bytes) -> bytes:
    """Return 32 bytes that name these contents, in order."""
    found = blake2b(digest_size=_DIGEST_BYTES)
    for content in contents:
        found.update(struct.pack("<Q", len(content)))
        found.update(content)
    return found.digest()


def _plain(value: Any) -> Any:
    """Return a number of numpy's as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a record cannot have a {type(value).__name__}")


def _digest(lengths: tuple[int, int], division: bytes, body: bytes) -> bytes:
    return fingerprint(struct.pack("<IIQ", _VERSION, *lengths), division, body)


def _arrays(data: memoryview, described: Sequence[tuple[str, int]]) -> list[Array]:
    arrays, begin = [], 0
    for dtype, length in described:
        if dtype not in _DTYPES:
            raise RecordError(f"a record has an array of dtype {dtype!r}; there are {', '.join(sorted(_DTYPES))}")
        array = np.frombuffer(data, f"<{dtype}", length, begin)
        begin += array.nbytes
        arrays.append(array.astype(array.dtype.newbyteorder("="), copy=sys.byteorder != "little"))
    return arrays
