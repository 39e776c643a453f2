"""The safetensors header: what is read, what is refused and in which words, what is written."""

import struct

import pytest

from pruning_proto.limits import HEADER_BYTES_CEILING
from pruning_proto.reasons import Reason
from pruning_proto.safetensors import header as layout
from pruning_proto.safetensors.header import LayoutError, TensorEntry

F32_PAIR = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'


def header_of(fields: str) -> bytes:
    """Return a header with one tensor `w` that has exactly these fields."""
    return ('{"w":{' + fields + "}}").encode()


def test_prefix_counts_the_bytes_of_json_that_follow() -> None:
    assert layout.json_bytes(b"\x36\x00\x00\x00\x00\x00\x00\x00") == 54


def test_header_at_its_limit_is_read() -> None:
    assert layout.json_bytes(struct.pack("<Q", 1000), limit=1000) == 1000


@pytest.mark.parametrize(
    ("claimed", "limit"),
    [(1001, 1000), (HEADER_BYTES_CEILING + 1, HEADER_BYTES_CEILING), (2**64 - 1, HEADER_BYTES_CEILING)],
    ids=["over the server's limit", "over the format's limit", "no safetensors file at all"],
)
def test_header_above_its_limit_is_refused_before_it_is_read(claimed: int, limit: int) -> None:
    with pytest.raises(LayoutError, match=f"claims {claimed:,} bytes; at most {limit:,}") as refused:
        layout.json_bytes(struct.pack("<Q", claimed), limit)
    assert refused.value.reason is Reason.HEADER_TOO_LARGE


def test_one_tensor_is_read_with_its_bytes() -> None:
    read = layout.parse(F32_PAIR)
    assert read.tensors == (TensorEntry("w", "F32", (2,), 0, 8),)
    assert (read.header_bytes, read.buffer_bytes, read.total_bytes) == (8 + 54, 8, 70)


def test_file_without_tensors_is_sound() -> None:
    read = layout.parse(b'{"__metadata__":{"format":"pt"}}')
    assert read.tensors == ()
    assert read.metadata == {"format": "pt"}
    assert read.buffer_bytes == 0


def test_metadata_may_be_null() -> None:
    assert layout.parse(b'{"__metadata__":null}').metadata == {}


def test_tensors_stand_in_the_order_of_their_bytes_and_empty_ones_by_name() -> None:
    read = layout.parse(
        b'{"z":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},'
        b'"a":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},"y":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    )
    assert [entry.name for entry in read.tensors] == ["y", "a", "b", "z"]


@pytest.mark.parametrize(
    "header",
    [
        b" \n\t" + F32_PAIR + b"   ",
        header_of('"dtype":"F32","shape":[2],"data_offsets":[0,8],"note":{"from":[1,2]}'),
        header_of('"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":' + "[" * 125 + "]" * 125),
        header_of('"data_offsets":[0,8],"shape":[2],"dtype":"F32"'),
    ],
    ids=["spaces around the JSON", "an extra field", "an extra field 125 deep", "another order of fields"],
)
def test_what_is_none_of_the_formats_business_is_accepted(header: bytes) -> None:
    assert layout.parse(header).tensors == (TensorEntry("w", "F32", (2,), 0, 8),)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        F32_PAIR + b"\x00",
        F32_PAIR + b"{}",
        b"\xef\xbb\xbf" + F32_PAIR,
        b'{"\xff":1}',
        b'{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        header_of('"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":NaN'),
        header_of('"dtype":"F32","shape":[Infinity],"data_offsets":[0,8]'),
        header_of('"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1e999'),
        header_of('"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":' + "9" * 5000),
        header_of('"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":' + "[" * 126 + "]" * 126),
        b"[" * 100_000,
        b'{"w":' * 100_000,
        b'{"__metadata__":[]}',
        b'{"__metadata__":{"epoch":3}}',
    ],
    ids=[
        "empty",
        "cut off",
        "an array",
        "null",
        "a NUL after it",
        "a second object",
        "a byte order mark",
        "not UTF-8",
        "half a surrogate pair",
        "NaN",
        "Infinity",
        "a real out of range",
        "an integer of 5000 digits",
        "an extra field 126 deep",
        "arrays 100,000 deep",
        "objects 100,000 deep",
        "metadata that is no object",
        "metadata that is no text",
    ],
)
def test_what_is_no_header_is_refused(header: bytes) -> None:
    with pytest.raises(LayoutError) as refused:
        layout.parse(header)
    assert refused.value.reason is Reason.INVALID_HEADER


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ('"shape":[2],"data_offsets":[0,8]', Reason.UNKNOWN_DTYPE),
        ('"dtype":"f32","shape":[2],"data_offsets":[0,8]', Reason.UNKNOWN_DTYPE),
        ('"dtype":["F32"],"shape":[2],"data_offsets":[0,8]', Reason.UNKNOWN_DTYPE),
        ('"dtype":"F32","data_offsets":[0,8]', Reason.INVALID_HEADER),
        ('"dtype":"F32","shape":2,"data_offsets":[0,8]', Reason.INVALID_HEADER),
        ('"dtype":"F32","shape":[-2],"data_offsets":[0,8]', Reason.INVALID_HEADER),
        ('"dtype":"F32","shape":[-0],"data_offsets":[0,0]', Reason.INVALID_HEADER),
        ('"dtype":"F32","shape":[2.0],"data_offsets":[0,8]', Reason.INVALID_HEADER),
        ('"dtype":"F32","shape":[true],"data_offsets":[0,4]', Reason.INVALID_HEADER),
        ('"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8]', Reason.INVALID_HEADER),
        ('"dtype":"F32","shape":[2]', Reason.INVALID_HEADER),
        ('"dtype":"F32","shape":[2],"data_offsets":[0]', Reason.INVALID_OFFSETS),
        ('"dtype":"F32","shape":[2],"data_offsets":[0,4,8]', Reason.INVALID_OFFSETS),
        ('"dtype":"F32","shape":[2],"data_offsets":[8,0]', Reason.INVALID_OFFSETS),
        ('"dtype":"F32","shape":[2],"data_offsets":[8,16]', Reason.INVALID_OFFSETS),
        ('"dtype":"F32","shape":[3],"data_offsets":[0,8]', Reason.SIZE_MISMATCH),
        ('"dtype":"F4","shape":[3],"data_offsets":[0,2]', Reason.SIZE_MISMATCH),
        ('"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]', Reason.SIZE_MISMATCH),
        ('"dtype":"F32","shape":[9223372036854775808,4,0],"data_offsets":[0,0]', Reason.SIZE_MISMATCH),
        ('"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]', Reason.DUPLICATE_NAME),
    ],
    ids=[
        "no dtype",
        "dtype in small letters",
        "dtype that is a list",
        "no shape",
        "shape that is a number",
        "negative size",
        "minus zero",
        "real size",
        "size that is a truth value",
        "size of 2^64",
        "no offsets",
        "one offset",
        "three offsets",
        "end before begin",
        "hole at the start",
        "bytes that do not match the shape",
        "half a byte",
        "2^64 elements",
        "2^65 elements before a 0",
        "a field twice",
    ],
)
def test_unsound_tensor_is_refused(fields: str, reason: Reason) -> None:
    with pytest.raises(LayoutError) as refused:
        layout.parse(header_of(fields))
    assert refused.value.reason is reason


def test_refusal_names_the_tensor_and_what_is_allowed() -> None:
    with pytest.raises(
        LayoutError, match=r"'w': F32 of shape \[3\] takes 12 bytes, its data_offsets span 8"
    ) as refused:
        layout.parse(header_of('"dtype":"F32","shape":[3],"data_offsets":[0,8]'))
    assert refused.value.tensor == "w"


@pytest.mark.parametrize(
    ("second", "fault"),
    [("[0,1]", "overlaps the tensor before it"), ("[2,3]", "leaves a hole before it")],
    ids=["overlap", "hole"],
)
def test_tensors_lie_end_to_end(second: str, fault: str) -> None:
    entry = '"%s":{"dtype":"U8","shape":[1],"data_offsets":%s}'
    with pytest.raises(LayoutError, match=fault) as refused:
        layout.parse(f"{{{entry % ('a', '[0,1]')},{entry % ('b', second)}}}".encode())
    assert (refused.value.reason, refused.value.tensor) == (Reason.INVALID_OFFSETS, "b")


def test_name_that_comes_twice_is_refused() -> None:
    entry = b'"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    with pytest.raises(LayoutError) as refused:
        layout.parse(b"{" + entry + b"," + entry + b"}")
    assert (refused.value.reason, refused.value.tensor) == (Reason.DUPLICATE_NAME, "w")


def test_hostile_shape_costs_nothing() -> None:
    """400,000 factors of 2^64 - 1 would make a number of 3 MB."""
    shape = ",".join(["18446744073709551615"] * 400_000)
    with pytest.raises(LayoutError, match=r"more than 2\^64 - 1 bits"):
        layout.parse(header_of(f'"dtype":"F32","shape":[{shape}],"data_offsets":[0,8]'))


def test_written_header_is_these_bytes() -> None:
    header, _ = layout.build([("w", "F32", (2,)), ("ü", "BF16", ())], {"format": "pt"})
    text = (
        '{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        '"ü":{"dtype":"BF16","shape":[],"data_offsets":[8,10]}}    '
    ).encode()
    assert header == b"\x90\x00\x00\x00\x00\x00\x00\x00" + text


def test_written_header_without_metadata_has_no_key_for_it() -> None:
    header, _ = layout.build([], {})
    assert header == b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "


def test_written_header_is_read_back() -> None:
    header, written = layout.build([("b", "F4", (2, 3)), ("a", "I64", (0, 7)), ("c", "C64", (2,))], {"k": "ü\n"})
    assert layout.parse(header[8:]) == written


@pytest.mark.parametrize(
    ("names", "reason"),
    [(["w", "w"], Reason.DUPLICATE_NAME), (["__metadata__"], Reason.INVALID_HEADER)],
    ids=["a name twice", "the format's own name"],
)
def test_ambiguous_names_are_not_written(names: list[str], reason: Reason) -> None:
    with pytest.raises(LayoutError) as refused:
        layout.build([(name, "U8", (1,)) for name in names], {})
    assert refused.value.reason is reason


def test_tensor_whose_last_byte_is_not_whole_is_not_written() -> None:
    with pytest.raises(LayoutError, match="3 elements of F4 do not fill whole bytes"):
        layout.build([("w", "F4", (3,))], {})
