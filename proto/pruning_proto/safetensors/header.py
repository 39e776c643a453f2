"""A safetensors header: parse it, check it, build it. No tensors and no I/O.

Accepts what the official parser accepts (holes, overlap and trailing bytes are refused; key order, alignment,
spaces around the JSON and extra fields are not checked), with two exceptions. Duplicate keys are refused:
parsers differ on which one counts. A tensor must be an object and its dtype a string, as the format says; the
official parser's JSON library also reads `["F32", [1], [0, 4]]` and `{"F32": null}`.

A header may be megabytes and hostile: no call into C goes over all of it at once, but for copies of its bytes, so
that a server's other threads get their turns while one parses or builds.

Source: the safetensors format, https://huggingface.co/docs/safetensors, as of version 0.8.
"""

import heapq
import reprlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from json.encoder import encode_basestring as quoted
from typing import Final

from pruning_proto.limits import HEADER_BYTES_CEILING
from pruning_proto.reasons import Reason
from pruning_proto.safetensors import header_json as json_steps
from pruning_proto.safetensors.dtypes import DTYPE_BITS
from pruning_proto.spans import spans

PREFIX_BYTES: Final = 8
"""The length of the header, little endian, which comes before it."""

_METADATA = "__metadata__"
_LARGEST_NUMBER = 2**64 - 1
_AT_ONCE = 4096  # entries; a millisecond or two


class LayoutError(ValueError):
    """A header is not valid.

    Attributes:
        reason: the word that programs compare.
        tensor: the name of the tensor at fault, if there is one.
    """

    def __init__(self, reason: Reason, message: str, tensor: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.tensor = tensor


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file: its name, the format's name of its dtype, its shape, and its bytes in the buffer."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What a header says.

    `tensors` are in the order of their bytes: by (begin, end, name). `header_bytes` counts the 8-byte prefix.
    """

    tensors: tuple[TensorEntry, ...]
    metadata: Mapping[str, str]
    header_bytes: int

    @property
    def buffer_bytes(self) -> int:
        """Bytes after the header."""
        return self.tensors[-1].end if self.tensors else 0

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole file."""
        return self.header_bytes + self.buffer_bytes


def json_bytes(prefix: bytes | bytearray | memoryview, limit: int = HEADER_BYTES_CEILING) -> int:
    """Return how many bytes of JSON follow the 8-byte prefix.

    Raises: LayoutError if they are more than `limit`.
    """
    (length,) = struct.unpack("<Q", prefix)
    if length > limit:
        raise LayoutError(
            Reason.HEADER_TOO_LARGE,
            f"the file's header claims {length:,} bytes; at most {limit:,} are allowed (is this a safetensors file?)",
        )
    return int(length)


def parse(header: bytes | bytearray | memoryview, most_tensors: int | None = None) -> Layout:
    """Read the JSON that follows the prefix.

    Raises: LayoutError if it is not valid, or has more than `most_tensors`.
    """
    metadata: dict[str, str] = {}
    entries: list[TensorEntry] = []
    for name, value in _members(bytes(header)):
        if name == _METADATA:
            metadata = _metadata(value)
        else:
            entries.append(_entry(name, value))
            if most_tensors is not None and len(entries) > most_tensors:
                raise LayoutError(
                    Reason.TOO_MANY_TENSORS,
                    f"the file has more than {most_tensors:,} tensors, the most that this "
                    "server accepts (its setting PRUNING_MAX_TENSORS)",
                )
    entries = _sorted(entries)
    _check_contiguous(entries)
    return Layout(tuple(entries), metadata, PREFIX_BYTES + len(header))


def build(tensors: Iterable[tuple[str, str, tuple[int, ...]]], metadata: Mapping[str, str]) -> tuple[bytes, Layout]:
    """Lay out (name, dtype, shape) one after the other; return the header, prefix included, and its layout.

    The JSON is padded with spaces to a multiple of 8 bytes, as the official writer does.

    Raises: LayoutError if a name comes twice or is the format's own.
    """
    entries = _lay_out(tensors)
    members = [f"{quoted(_METADATA)}:{_object(metadata)}"] if metadata else []
    members += [",".join(map(_member, entries[begin:end])) for begin, end in spans(len(entries), _AT_ONCE)]
    text = f"{{{','.join(members)}}}".encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, Layout(tuple(entries), dict(metadata), PREFIX_BYTES + len(text))


def tensor_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor.

    Raises: LayoutError if they are too many to count, or the last would not be whole.
    """
    bits = _product((*shape, DTYPE_BITS[dtype]))
    if bits % 8:
        raise LayoutError(
            Reason.SIZE_MISMATCH, f"{bits // DTYPE_BITS[dtype]} elements of {dtype} do not fill whole bytes"
        )
    return bits // 8


def _product(factors: tuple[int, ...]) -> int:
    """Multiply from left to right, and stop at 2^64: as the official parser does, also where a 0 follows."""
    product = 1
    for factor in factors:
        product *= factor
        if product > _LARGEST_NUMBER:  # stopping here also keeps a hostile shape from making a number of megabytes
            raise LayoutError(Reason.SIZE_MISMATCH, "its shape has more than 2^64 - 1 bits")
    return product


def _lay_out(tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> list[TensorEntry]:
    entries: dict[str, TensorEntry] = {}
    begin = 0
    for name, dtype, shape in tensors:
        if name in entries:
            raise LayoutError(Reason.DUPLICATE_NAME, f"two tensors are named {name!r}", name)
        if name == _METADATA:
            raise LayoutError(Reason.INVALID_HEADER, f"no tensor can be named {name!r}: the format keeps it", name)
        end = begin + tensor_bytes(dtype, shape)
        entries[name] = TensorEntry(name, dtype, shape, begin, end)
        begin = end
    return list(entries.values())


def _member(entry: TensorEntry) -> str:
    return (
        f'{quoted(entry.name)}:{{"dtype":"{entry.dtype}","shape":[{",".join(map(str, entry.shape))}],'
        f'"data_offsets":[{entry.begin},{entry.end}]}}'
    )


def _object(texts: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{quoted(key)}:{quoted(value)}" for key, value in texts.items()) + "}"


def _members(header: bytes) -> Iterator[tuple[str, object]]:
    """Return the members of a header, each name once."""
    names: set[str] = set()
    try:
        for name, value in json_steps.members(header.decode("utf-8")):
            if name in names:
                raise json_steps.DuplicateKeyError(name)
            names.add(name)
            yield name, value
    except json_steps.DuplicateKeyError as error:
        raise LayoutError(Reason.DUPLICATE_NAME, f"the header has the key {error.key!r} twice", error.key) from error
    except ValueError as error:
        raise LayoutError(Reason.INVALID_HEADER, f"the header is not a JSON object: {error}") from error


def _metadata(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise LayoutError(Reason.INVALID_HEADER, f"{_METADATA} must map strings to strings")
    return value


def _entry(name: str, value: object) -> TensorEntry:
    if not isinstance(value, dict):
        raise LayoutError(Reason.INVALID_HEADER, f"tensor {name!r} must be a JSON object", name)
    dtype = value.get("dtype")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise LayoutError(
            Reason.UNKNOWN_DTYPE,
            f"tensor {name!r} has the unknown dtype {reprlib.repr(dtype)}; known: {', '.join(DTYPE_BITS)}",
            name,
        )
    shape = _naturals(name, "shape", value.get("shape"))
    offsets = _naturals(name, "data_offsets", value.get("data_offsets"))
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise LayoutError(
            Reason.INVALID_OFFSETS,
            f"tensor {name!r}: data_offsets must be [begin, end], got {reprlib.repr(list(offsets))}",
            name,
        )
    entry = TensorEntry(name, dtype, shape, *offsets)
    _check_size(entry)
    return entry


def _naturals(name: str, field: str, value: object) -> tuple[int, ...]:
    if isinstance(value, list) and all(type(number) is int and 0 <= number <= _LARGEST_NUMBER for number in value):
        return tuple(value)
    raise LayoutError(
        Reason.INVALID_HEADER,
        f"tensor {name!r}: {field} must be a list of integers from 0 to 2^64 - 1, got {reprlib.repr(value)}",
        name,
    )


def _check_size(entry: TensorEntry) -> None:
    try:
        expected = tensor_bytes(entry.dtype, entry.shape)
    except LayoutError as error:
        raise LayoutError(error.reason, f"tensor {entry.name!r}: {error}", entry.name) from error
    if entry.end - entry.begin != expected:
        raise LayoutError(
            Reason.SIZE_MISMATCH,
            f"tensor {entry.name!r}: {entry.dtype} of shape {reprlib.repr(list(entry.shape))} takes {expected:,} "
            f"bytes, its data_offsets span {entry.end - entry.begin:,}",
            entry.name,
        )


def _sorted(entries: list[TensorEntry]) -> list[TensorEntry]:
    """Sort by (begin, end, name) in short steps."""
    if all(_place(one) <= _place(other) for one, other in pairwise(entries)):
        return entries
    parts = [sorted(entries[begin:end], key=_place) for begin, end in spans(len(entries), _AT_ONCE)]
    return list(heapq.merge(*parts, key=_place))


def _place(entry: TensorEntry) -> tuple[int, int, str]:
    return entry.begin, entry.end, entry.name


def _check_contiguous(entries: list[TensorEntry]) -> None:
    end = 0
    for entry in entries:
        if entry.begin != end:
            fault = "overlaps the tensor before it" if entry.begin < end else "leaves a hole before it"
            raise LayoutError(
                Reason.INVALID_OFFSETS,
                f"tensor {entry.name!r} begins at {entry.begin:,} and {fault}, which ends at {end:,}",
                entry.name,
            )
        end = entry.end
