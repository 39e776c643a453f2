"""Parts of a message that this server does not know, by path.

proto3 drops unknown fields and keeps unknown enum values, so that a newer client's rule would be followed in part.
"""

from collections.abc import Iterator
from itertools import islice

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from pruning_proto import limits
from pruning_proto.reasons import Reason
from pruning_service.status import Refusal, Violation


def reject_unknown_fields(message: Message, path: str = "") -> None:
    """Refuse a message of which any part, however deep, is unknown here.

    Raises: Refusal UNSUPPORTED_FIELD with a violation for each part, for 20 at most.
    """
    violations = tuple(islice(_unknown(message, path), limits.VIOLATIONS))
    if violations:
        places = ", ".join(violation.field for violation in violations[:3])
        raise Refusal(
            reason=Reason.UNSUPPORTED_FIELD,
            message=f"this server does not know {places}; GetCapabilities lists what it offers",
            violations=violations,
        )


def _unknown(message: Message, path: str) -> Iterator[Violation]:
    unknown = UnknownFieldSet(message)
    for index in range(len(unknown)):
        place = _join(path, f"<field {unknown[index].field_number}>")
        yield Violation(place, "this server does not know the field")
    for field, value in message.ListFields():
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
        yield from ((f"{path}[{index}]", element) for index, element in enumerate(value))  # type: ignore[var-annotated, arg-type]
    else:
        yield path, value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
