"""Parts of a message that this server does not know, by path.

proto3 drops unknown fields and keeps unknown enum values, so that a newer client's rule would be followed in part.
A newer client sends a few such fields. Many of them are refused together: protobuf makes an object of each, all at
once, which takes forty times their bytes and half a second for 2 MiB.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from pruning_engine.runtime.yield_points import with_yields
from pruning_proto import limits
from pruning_proto.reasons import Reason
from pruning_service.status import Refusal, Violation

MOST_BYTES: Final = 4096
"""Bytes of unknown fields that are looked at one by one."""

_PARTS_BETWEEN_YIELDS: Final = 256


def reject_unknown_fields(message: Message, path: str = "") -> None:
    """Refuse a message of which any part, however deep, is unknown here.

    Raises: Refusal UNSUPPORTED_FIELD with a violation for each part, for 20 at most.
    """
    if (found := _unknown_bytes(message)) > MOST_BYTES:
        text = f"{path or 'the message'} has {found:,} bytes of fields that this server does not know"
        raise Refusal(reason=Reason.UNSUPPORTED_FIELD, message=f"{text}; GetCapabilities lists what it offers")
    violations = tuple(islice(_unknown(message, path), limits.VIOLATIONS))
    if violations:
        places = ", ".join(violation.field for violation in violations[:3])
        raise Refusal(
            reason=Reason.UNSUPPORTED_FIELD,
            message=f"this server does not know {places}; GetCapabilities lists what it offers",
            violations=violations,
        )


def _unknown_bytes(message: Message) -> int:
    """Return the bytes of all unknown fields of a message, however deep, without an object for each."""
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    return message.ByteSize() - known.ByteSize()


def _unknown(message: Message, path: str) -> Iterator[Violation]:
    unknown = UnknownFieldSet(message)
    for index in range(len(unknown)):
        place = _join(path, f"<field {unknown[index].field_number}>")
        yield Violation(place, "this server does not know the field")
    for field, value in message.ListFields():
        if field.message_type is None and field.enum_type is None:
            continue
        for place, element in _elements(field, value, _join(path, field.name)):
            yield from _unknown_in(field, element, place)


def _unknown_in(field: FieldDescriptor, value: object, path: str) -> Iterator[Violation]:
    if isinstance(value, Message):
        yield from _unknown(value, path)
    elif field.enum_type is not None and value not in field.enum_type.values_by_number:
        yield Violation(path, f"this server does not know the value {value} of {field.enum_type.name}")


def _elements(field: FieldDescriptor, value: object, path: str) -> Iterator[tuple[str, object]]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        yield from ((f'{path}["{key}"]', element) for key, element in value.items())  # type: ignore[attr-defined]
    elif field.is_repeated:
        each = with_yields(enumerate(value), _PARTS_BETWEEN_YIELDS)  # type: ignore[var-annotated, arg-type]
        yield from ((f"{path}[{index}]", element) for index, element in each)
    else:
        yield path, value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
