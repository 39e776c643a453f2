"""One message of the way in, from its bytes. How much it may cost is judged by these bytes, before they are parsed.

Protobuf takes up to forty times the bytes of a message of many small parts, and tens of milliseconds for 2 MiB of them.
So options have a limit and are parsed off the event loop, in memory that is reserved; a message of data is not parsed
at all if it is nothing else, nor if what is beside its data is more than a newer client's field might be.
"""

from functools import lru_cache
from typing import Final

from pruning_proto import framing, limits
from pruning_proto.reasons import Reason
from pruning_proto.v1.pruning_pb2 import PruneOptions, PruneRequest
from pruning_service.messages.recipe import KEPT_BYTES, KEPT_RECIPES
from pruning_service.messages.unknown_fields import reject_unknown_fields
from pruning_service.status import Refusal

MOST_BESIDE_DATA: Final = 1024
"""Bytes of a data message beside its data that are looked at, to name what is unknown: it happens on the event loop."""

_OPTIONS_TAG: Final = (PruneRequest.OPTIONS_FIELD_NUMBER << 3) | 2
_WHOLE_TAG: Final = (PruneRequest.WHOLE_FIELD_NUMBER << 3) | 2


def check_may_be_options(raw: bytes) -> None:
    """Refuse a first message that cannot be options, or too long ones, unparsed. Raises: Refusal."""
    if raw[:1] == bytes([framing.DATA_TAG]):
        raise _data_first()
    if len(raw) > limits.OPTIONS_BYTES:
        text = f"options have at most {limits.OPTIONS_BYTES:,} bytes, got {len(raw):,}"
        raise Refusal(reason=Reason.INVALID_RECIPE, message=f"{text}; name fewer tensors or groups")


def whole_of(raw: bytes) -> tuple[bytes, memoryview] | None:
    """Return the message of options and the data of a first message that has both; None if it has options only.

    Nothing is parsed: not even in the order of options and data, which all known encoders keep. Raises: Refusal.
    """
    whole = framing.whole_of(raw)
    if whole is None:
        if raw[:1] != bytes([_WHOLE_TAG]):
            return None
        text = "whole has options, then data, and nothing else that this server knows; send both by themselves"
        raise Refusal(reason=Reason.UNSUPPORTED_FIELD, message=text)
    if len(whole[1]) > limits.WHOLE_BYTES:
        text = f"whole.data has at most {limits.WHOLE_BYTES:,} bytes, got {len(whole[1]):,}"
        raise Refusal(reason=Reason.MODEL_TOO_LARGE, message=f"{text}; send options and data by themselves")
    return whole


def parsed_options(raw: bytes) -> PruneOptions:
    """Return the options in a first message, of which every part is known here. They are not to be changed.

    Raises: Refusal, google.protobuf.message.DecodeError.
    """
    return _parsed_short(raw) if len(raw) <= KEPT_BYTES else _parsed(raw)


def _parsed(raw: bytes) -> PruneOptions:
    message = PruneRequest.FromString(raw)
    if message.WhichOneof("message") == "data":
        raise _data_first()
    reject_unknown_fields(message.options)  # first, so that paths begin there
    reject_unknown_fields(message)
    if message.WhichOneof("message") is None:
        raise Refusal(reason=Reason.OPTIONS_FIRST, message="the first message is empty; send options first")
    return message.options


_parsed_short: Final = lru_cache(KEPT_RECIPES)(_parsed)


def data_of(raw: bytes) -> memoryview:
    """Return the data of a later message. Raises: Refusal, google.protobuf.message.DecodeError."""
    data = framing.data_of(raw)
    if data is None:
        data = memoryview(_parsed_data(raw).data)
    if not data:
        raise Refusal(reason=Reason.EMPTY_DATA, message="a data message is empty; leave it out")
    return data


def _parsed_data(raw: bytes) -> PruneRequest:
    begin, end = framing.leading_data(raw)
    beside = len(raw) - (end - begin)
    if beside > MOST_BESIDE_DATA:
        if raw[0] == _OPTIONS_TAG:
            raise _options_twice()
        text = f"a data message has {beside:,} bytes that this server does not know; send the data alone"
        raise Refusal(reason=Reason.UNSUPPORTED_FIELD, message=text)
    message = PruneRequest.FromString(raw)
    reject_unknown_fields(message)
    if message.WhichOneof("message") == "options":
        raise _options_twice()
    return message


def _data_first() -> Refusal:
    return Refusal(reason=Reason.OPTIONS_FIRST, message="data came before options; send options first")


def _options_twice() -> Refusal:
    return Refusal(reason=Reason.UNEXPECTED_MESSAGE, message="options came a second time; send them once")
