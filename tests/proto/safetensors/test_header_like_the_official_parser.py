"""Our reading of a header is the official parser's, whatever the bytes: the exceptions are at the end."""

import json
import math
import struct

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from pruning_proto.safetensors import header as layout
from pruning_proto.safetensors.dtypes import DTYPE_BITS

Entries = list[tuple[str, str, tuple[int, ...]]]

DTYPES = st.sampled_from(sorted(DTYPE_BITS))
NUMPY_DTYPES = {"BOOL": "?", "U8": "u1", "I16": "<i2", "F16": "<f2", "F32": "<f4", "I64": "<i8", "F64": "<f8"}
SIZES = st.lists(st.integers(0, 4), max_size=4).map(tuple)
TENSORS = st.tuples(st.text(max_size=6), DTYPES, SIZES)
NUMBERS = st.one_of(
    st.integers(-2, 20), st.sampled_from([2**61, 2**63, 2**64 - 1, 2**64, 10**400]), st.floats(), st.booleans()
)
JSON = st.recursive(
    st.one_of(st.none(), NUMBERS, st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.fixed_dictionaries(
    {
        "dtype": DTYPES | st.sampled_from(["F33", "", 13, None]),
        "shape": st.lists(NUMBERS, max_size=3) | JSON,
        "data_offsets": st.lists(NUMBERS, min_size=1, max_size=3) | JSON,
    },
    optional={"extra": JSON},
)

TEXTS = st.sampled_from(
    ["0", "-1", "1.5", "1e1", "true", "null", '""', '"}"', '"\\n"', '"\\ud83d\\ude00"', " 7\t", "[]", "{}"]
)
ODD_TEXTS = TEXTS | st.sampled_from(
    [
        "",
        "01",
        "-0",
        "1.",
        ".5",
        "+1",
        "1e999",
        "9" * 30,
        "٣",
        "NaN",
        "tru",
        "True",
        '"\t"',
        '"\\x"',
        '"\\ud800"',
        '"',
        "]",
        "}",
    ]
)


def read_by_us(header: bytes, buffer_bytes: int) -> Entries | None:
    """Return what we read, sorted by name; None if it is refused."""
    try:
        read = layout.parse(header)
    except layout.LayoutError:
        return None
    return (
        sorted((entry.name, entry.dtype, entry.shape) for entry in read.tensors)
        if read.buffer_bytes == buffer_bytes
        else None
    )


def read_by_them(header: bytes, buffer_bytes: int) -> Entries | None:
    """Return what the official parser reads, sorted by name; None if it is refused."""
    try:
        tensors = safetensors.deserialize(struct.pack("<Q", len(header)) + header + bytes(buffer_bytes))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        return None
    return sorted((name, tensor["dtype"], tuple(tensor["shape"])) for name, tensor in tensors)


def buffer_bytes_of(tensors: Entries) -> int:
    return sum(DTYPE_BITS[dtype] * math.prod(shape) for _, dtype, shape in tensors) // 8


def is_whole(tensor: tuple[str, str, tuple[int, ...]]) -> bool:
    return DTYPE_BITS[tensor[1]] * math.prod(tensor[2]) % 8 == 0


@given(st.lists(TENSORS.filter(is_whole), max_size=5, unique_by=lambda tensor: tensor[0]))
def test_what_we_write_they_read(tensors: Entries) -> None:
    header, _ = layout.build(tensors, {"format": "pt"})
    assert read_by_them(header[8:], buffer_bytes_of(tensors)) == sorted(tensors)


@given(st.dictionaries(st.text(max_size=6), st.tuples(st.sampled_from(sorted(NUMPY_DTYPES)), SIZES), max_size=5))
def test_what_they_write_we_read(tensors: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    arrays = {name: np.zeros(shape, NUMPY_DTYPES[dtype]) for name, (dtype, shape) in tensors.items()}
    written = safetensors.numpy.save(arrays)
    (length,) = struct.unpack("<Q", written[:8])
    expected = sorted((name, dtype, shape) for name, (dtype, shape) in tensors.items())
    assert read_by_us(written[8 : 8 + length], len(written) - 8 - length) == expected


@given(st.dictionaries(st.text(max_size=2), FIELDS, max_size=2), st.integers(0, 20))
def test_any_fields_are_accepted_by_both_or_neither(fields: dict[str, object], buffer_bytes: int) -> None:
    header = json.dumps(fields).encode()
    assert read_by_us(header, buffer_bytes) == read_by_them(header, buffer_bytes)


@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_accepted_by_both_or_neither(header: bytes) -> None:
    assert read_by_us(header, 0) == read_by_them(header, 0)


@given(st.lists(TEXTS, min_size=8, max_size=40), st.integers(0, 39), ODD_TEXTS, st.booleans())
def test_long_arrays_and_objects_are_accepted_by_both_or_neither(
    texts: list[str], position: int, odd: str, in_object: bool
) -> None:
    texts[position % len(texts)] = odd
    extra = [f'"{index}":{text}' for index, text in enumerate(texts)] if in_object else texts
    opened, closed = "{}" if in_object else "[]"
    value = opened + ",".join(extra) + closed
    header = f'{{"w":{{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":{value}}}}}'.encode(errors="surrogatepass")
    assert read_by_us(header, 0) == read_by_them(header, 0)


@given(st.data())
def test_header_with_one_byte_changed_is_accepted_by_both_or_neither(data: st.DataObject) -> None:
    header = bytearray(b'{"__metadata__":{"k":"v"},"w":{"dtype":"F32","shape":[0,2],"data_offsets":[0,0],"x":[1e1]}}')
    header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.sampled_from(b'09-.eE,:[]{}"\\ \x00\x7f\xc3/'))
    assert read_by_us(bytes(header), 0) == read_by_them(bytes(header), 0)


@pytest.mark.parametrize(
    "header",
    [
        b'{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}',
        b'{"w":["U8",[0],[0,0]]}',
        b'{"w":{"dtype":{"U8":null},"shape":[0],"data_offsets":[0,0]}}',
    ],
    ids=["duplicate keys", "a tensor written as an array", "a dtype written as an object"],
)
def test_these_alone_they_accept_and_we_refuse(header: bytes) -> None:
    assert read_by_them(header, 0) is not None
    assert read_by_us(header, 0) is None
