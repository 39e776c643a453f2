"""Model bytes to messages and back, for gRPC to use as (de)serializers of `Prune`. No sockets.

A message that carries `data` is a tag, a length and the bytes. protobuf copies the bytes four to five times on their
way; these functions copy them once and produce the same wire bytes. All other messages go to protobuf. A data
message is represented by its bytes alone: any buffer on the way out, a memoryview on the way in.

Source: https://protobuf.dev/programming-guides/encoding, length-delimited fields.
"""

from typing import Final, TypeAlias

from pruning_proto.v1.pruning_pb2 import PruneRequest, PruneResponse

Data: TypeAlias = bytes | bytearray | memoryview
"""The bytes of a `data` message; a memoryview must be of single bytes."""

DATA_TAG: Final = (PruneRequest.DATA_FIELD_NUMBER << 3) | 2
"""The first byte of a message that begins with `data`, in both directions."""

_OPTIONS_TAG: Final = (PruneRequest.OPTIONS_FIELD_NUMBER << 3) | 2
_WHOLE_TAG: Final = (PruneRequest.WHOLE_FIELD_NUMBER << 3) | 2

_LONGEST_VARINT_BYTES: Final = 5  # a message is below 2 GiB


def encode(message: PruneRequest | PruneResponse | Data) -> bytes:
    """Serialize one message of either direction."""
    if isinstance(message, (PruneRequest, PruneResponse)):
        return message.SerializeToString()
    return b"".join((_prefix(DATA_TAG, len(message)), message))


def encode_whole(options: PruneRequest, data: Data) -> bytes:
    """Serialize the options and the bytes of a whole file as one message: `whole` has both under the same numbers."""
    first, second = options.SerializeToString(), _prefix(DATA_TAG, len(data))
    return b"".join((_prefix(_WHOLE_TAG, len(first) + len(second) + len(data)), first, second, data))


def whole_of(raw: bytes) -> tuple[bytes, memoryview] | None:
    """Return the message of options and the data that `encode_whole` made one of; None for all other messages."""
    begin, end = _leading(raw, _WHOLE_TAG)
    if not begin or end != len(raw):
        return None
    payload = memoryview(raw)[begin:]
    data_begin = _leading(payload, _OPTIONS_TAG)[1]
    length_begin, data_end = _leading(payload[data_begin:], DATA_TAG)
    if not data_begin or not length_begin or data_begin + data_end != len(payload):
        return None
    return bytes(payload[:data_begin]), payload[data_begin + length_begin :]


def decode_request(raw: bytes) -> PruneRequest | memoryview:
    """Parse one message of the way in.

    A data message comes as a memoryview of its bytes if it is nothing but that, as every known encoder writes it;
    any other way to spell one comes as a PruneRequest.

    Raises: google.protobuf.message.DecodeError.
    """
    data = data_of(raw)
    return PruneRequest.FromString(raw) if data is None else data


def decode_response(raw: bytes) -> PruneResponse | memoryview:
    """Parse one message of the way out, as `decode_request` does.

    Raises: google.protobuf.message.DecodeError.
    """
    data = data_of(raw)
    return PruneResponse.FromString(raw) if data is None else data


def _prefix(tag: int, length: int) -> bytes:
    prefix = bytearray((tag,))
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix)


def data_of(raw: bytes) -> memoryview | None:
    """Return the payload of a message that is exactly one `data` field; None for all others."""
    begin, end = leading_data(raw)
    return memoryview(raw)[begin:] if begin and end == len(raw) else None


def leading_data(raw: bytes) -> tuple[int, int]:
    """Return where the payload of a `data` field at the beginning begins and ends; (0, 0) if there is none."""
    return _leading(raw, DATA_TAG)


def _leading(raw: Data, tag: int) -> tuple[int, int]:
    if len(raw) < 2 or raw[0] != tag:
        return 0, 0
    length = 0
    for position in range(1, min(len(raw), 1 + _LONGEST_VARINT_BYTES)):
        length |= (raw[position] & 0x7F) << 7 * (position - 1)
        if raw[position] < 0x80:
            return position + 1, position + 1 + length
    return 0, 0
