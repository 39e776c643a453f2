"""Messages of model bytes: the same wire bytes as protobuf's, in both directions, whatever the bytes."""

from collections.abc import Callable

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from pruning_proto import framing
from pruning_proto.v1.pruning_pb2 import (
    Failure,
    Progress,
    PruneOptions,
    PruneRequest,
    PruneResponse,
    WholeRequest,
)

Message = PruneRequest | PruneResponse
Decode = Callable[[bytes], Message | memoryview]

BOTH_WAYS = pytest.mark.parametrize(
    ("message", "decode"),
    [(PruneRequest, framing.decode_request), (PruneResponse, framing.decode_response)],
    ids=["request", "response"],
)

VARINTS = st.lists(st.integers(0, 255), min_size=1, max_size=11).map(bytes)
NEARLY_DATA = st.builds(lambda length, payload: b"\x7a" + length + payload, VARINTS, st.binary(max_size=20))


def read_by_us(decode: Decode, raw: bytes) -> bytes | None:
    """Return the message read, written again; None if it is refused."""
    try:
        return framing.encode(decode(raw))
    except DecodeError:
        return None


def read_by_protobuf(message: type[Message], raw: bytes) -> bytes | None:
    """Return the message that protobuf reads, written again; None if it is refused."""
    try:
        return message.FromString(raw).SerializeToString()
    except DecodeError:
        return None


def test_data_is_a_tag_a_length_and_the_bytes() -> None:
    assert framing.encode(b"abc") == b"\x7a\x03abc"


@pytest.mark.parametrize(
    ("length", "prefix"),
    [
        (0, b"\x7a\x00"),
        (127, b"\x7a\x7f"),
        (128, b"\x7a\x80\x01"),
        (16_383, b"\x7a\xff\x7f"),
        (16_384, b"\x7a\x80\x80\x01"),
        (2 * 1024 * 1024, b"\x7a\x80\x80\x80\x01"),
    ],
)
def test_length_is_a_varint(length: int, prefix: bytes) -> None:
    assert framing.encode(bytes(length)) == prefix + bytes(length)


@pytest.mark.parametrize(
    "data", [b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4]], ids=["bytes", "bytearray", "view"]
)
def test_any_buffer_of_bytes_is_data(data: framing.Data) -> None:
    assert framing.encode(data) == PruneRequest(data=b"abc").SerializeToString()


@BOTH_WAYS
@given(data=st.binary(max_size=300))
def test_data_written_is_what_protobuf_writes(message: type[Message], decode: Decode, data: bytes) -> None:
    assert framing.encode(data) == message(data=data).SerializeToString()


@BOTH_WAYS
@given(data=st.binary(max_size=300))
def test_data_read_is_a_view_of_what_protobuf_wrote(message: type[Message], decode: Decode, data: bytes) -> None:
    read = decode(message(data=data).SerializeToString())
    assert isinstance(read, memoryview)
    assert read == data


def test_data_is_not_copied_when_read() -> None:
    raw = framing.encode(bytes(1000))
    read = framing.decode_request(raw)
    assert isinstance(read, memoryview)
    assert read.obj is raw


@pytest.mark.parametrize(
    ("message", "decode"),
    [
        (PruneRequest(options=PruneOptions(total_bytes=9)), framing.decode_request),
        (PruneRequest(), framing.decode_request),
        (PruneResponse(progress=Progress(sent_bytes=1)), framing.decode_response),
        (PruneResponse(failure=Failure(reason="NO_ROOM")), framing.decode_response),
        (PruneResponse(), framing.decode_response),
    ],
    ids=["options", "empty request", "progress", "failure", "empty response"],
)
def test_other_messages_go_through_protobuf_unchanged(message: Message, decode: Decode) -> None:
    raw = framing.encode(message)
    assert raw == message.SerializeToString()
    assert decode(raw) == message


@BOTH_WAYS
def test_length_in_more_bytes_than_it_needs_is_still_data(message: type[Message], decode: Decode) -> None:
    raw = b"\x7a\x83\x00abc"
    assert message.FromString(raw).data == b"abc"
    assert decode(raw) == b"abc"


@BOTH_WAYS
@pytest.mark.parametrize(
    "raw",
    [b"\x7a\x01x\x7a\x03abc", b"\x98\x06\x01\x7a\x03abc", b"\x7a\x03abc\x98\x06\x01"],
    ids=["data twice", "an unknown field before data", "an unknown field after data"],
)
def test_data_beside_something_else_comes_as_the_message(message: type[Message], decode: Decode, raw: bytes) -> None:
    assert decode(raw) == message.FromString(raw)


@BOTH_WAYS
@pytest.mark.parametrize(
    "raw",
    [
        b"\x7a",
        b"\x7a\x03ab",
        b"\x7a\x02abc",
        b"\x7a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x7a\x80\x80\x80\x80\x10",
    ],
    ids=["no length", "bytes missing", "a byte too many", "a length without end", "a length of 4 GiB"],
)
def test_broken_data_is_refused_as_protobuf_refuses_it(message: type[Message], decode: Decode, raw: bytes) -> None:
    with pytest.raises(DecodeError):
        message.FromString(raw)
    with pytest.raises(DecodeError):
        decode(raw)


@BOTH_WAYS
@given(raw=st.binary(max_size=40) | NEARLY_DATA)
def test_any_bytes_read_as_protobuf_reads_them(message: type[Message], decode: Decode, raw: bytes) -> None:
    assert read_by_us(decode, raw) == read_by_protobuf(message, raw)


OPTIONS = st.builds(
    lambda aliases, total: PruneRequest(options=PruneOptions(aliases=aliases, total_bytes=total)),
    st.dictionaries(st.text(max_size=50), st.text(max_size=90), max_size=3),
    st.integers(0, 2**64 - 1),
)


@given(OPTIONS, st.binary(min_size=1, max_size=300))
def test_whole_model_is_what_protobuf_writes(options: PruneRequest, data: bytes) -> None:
    raw = framing.encode_whole(options, data)
    whole = WholeRequest(options=options.options, data=data)
    assert raw == PruneRequest(whole=whole).SerializeToString()
    first, second = framing.whole_of(raw) or (b"", b"")
    assert (first, bytes(second)) == (options.SerializeToString(), data)


@given(st.lists(st.sampled_from([0, 1, 2, 3, 10, 15, 18, 122, 127, 128]), max_size=12).map(bytes))
def test_what_is_taken_apart_is_what_protobuf_reads(rest: bytes) -> None:
    raw = b"\x12" + rest
    found = framing.whole_of(raw)
    if found is not None:
        assert PruneRequest.FromString(raw).whole.data == found[1]
        assert framing.encode_whole(PruneRequest.FromString(found[0]), found[1]) == raw
