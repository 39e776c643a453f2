"""A mapping read from YAML or JSON -> a message of the contract. What is wrong is refused by its path.

The paths are the server's: `recipe.rules[0].amount.fraction`. Scalars are read by protobuf's JSON mapping; this module
adds the paths, and refuses what YAML would accept: `yes` for a number. A tie may have its short form,
`gate_proj.weight:0`, an enum's value its plain word, `global`, and a kind without fields its name, `score: magnitude`.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pruning_client.errors import RecipeError, recipe_error
from pruning_client.recipes.channel_groups import tie_of
from pruning_proto.reasons import Reason
from pruning_proto.v1.pruning_pb2 import Amount, Tie

SCALARS: Final = {
    FieldDescriptor.TYPE_DOUBLE: "a number",
    FieldDescriptor.TYPE_UINT64: "an integer, 0 to 2^64 - 1",
    FieldDescriptor.TYPE_UINT32: "an integer, 0 to 2^32 - 1",
    FieldDescriptor.TYPE_INT64: "an integer, -2^63 to 2^63 - 1",
    FieldDescriptor.TYPE_INT32: "an integer, -2^31 to 2^31 - 1",
    FieldDescriptor.TYPE_BOOL: "true or false",
    FieldDescriptor.TYPE_STRING: "text; quote it",
    FieldDescriptor.TYPE_BYTES: "bytes as text in base64",
}
"""Each scalar type of the contract's recipes, in words."""


def fill(message: Message, content: object, path: str) -> None:
    """Set the fields that `content` names; null leaves a field as it is. A message of the same type is copied.

    Raises: RecipeError with the path of the first field that is wrong.
    """
    if isinstance(message, Tie) and isinstance(content, str):
        message.CopyFrom(tie_of(content, path))
        return
    if isinstance(content, type(message)):
        message.CopyFrom(content)
        return
    if isinstance(content, str) and content in _kinds(message):
        getattr(message, content).SetInParent()
        return
    if not isinstance(content, dict):
        fields = ", ".join(message.DESCRIPTOR.fields_by_name)
        expected = f"a mapping of {fields}" if fields else "an empty mapping, {}"
        expected += ", or in short NAME:DIM" * isinstance(message, Tie)
        raise recipe_error(Reason.INVALID_RECIPE, path, f"this is {expected}; got {_shown(content)}")
    message.SetInParent()
    taken: set[str] = set()
    for key, value in content.items():
        field = _field(message, key, path)
        if value is not None:
            _take(taken, field, path)
            _set(message, field, value, f"{path}.{field.name}")


def with_plain_words(message: Message, content: dict[str, Any]) -> dict[str, Any]:
    """Return protobuf's JSON mapping of a message as `fill` also reads it: plain words, and integers as numbers."""
    shown: dict[str, Any] = {}
    for field, value in message.ListFields():
        text = content[field.name]
        if field.enum_type is not None:
            shown[field.name] = _plain_words(field.enum_type)[text]
        elif field.message_type is None:
            shown[field.name] = (
                list(value) if field.is_repeated else text if isinstance(value, float | bytes) else value
            )
        elif field.message_type.GetOptions().map_entry:
            shown[field.name] = {key: _map_value(value[key], text[key]) for key in sorted(value)}
        elif field.is_repeated:
            shown[field.name] = [with_plain_words(*pair) for pair in zip(value, text, strict=True)]
        else:
            shown[field.name] = with_plain_words(value, text)
    return shown


def _map_value(value: Any, text: Any) -> Any:
    return with_plain_words(value, text) if isinstance(value, Message) else value


def _kinds(message: Message) -> list[str]:
    """Return the names of the kinds, one of which a message is, that are messages themselves."""
    return [field.name for oneof in message.DESCRIPTOR.oneofs for field in oneof.fields if field.message_type]


def _plain_words(enum: Any) -> dict[str, str]:
    """Return the plain word of each value that may be given: `global` of `SCOPE_GLOBAL`."""
    names = [value.name for value in enum.values]
    prefix = names[0].removesuffix("UNSPECIFIED")
    return {name: name.removeprefix(prefix).lower() for name in names}


def _field(message: Message, key: object, path: str) -> FieldDescriptor:
    fields: Sequence[Any] = message.DESCRIPTOR.fields
    for field in fields:
        if key in (field.name, field.json_name):
            descriptor: FieldDescriptor = field
            return descriptor
    known = ", ".join(message.DESCRIPTOR.fields_by_name) or "none"
    raise recipe_error(Reason.UNSUPPORTED_FIELD, f"{path}.{key}", f"there is no such field; known here: {known}")


def _take(taken: set[str], field: FieldDescriptor, path: str) -> None:
    """Record a field and those that it excludes: the others of its oneof, and itself by its other name."""
    exclusive = [other.name for other in field.containing_oneof.fields] if field.containing_oneof else [field.name]
    if field.name in taken:
        description = f"only one of {', '.join(exclusive)} may be given, and once"
        raise recipe_error(Reason.INVALID_RECIPE, f"{path}.{field.name}", description)
    taken.update(exclusive)


def _set(message: Message, field: FieldDescriptor, value: object, path: str) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _set_map(message, field, value, path)
    elif field.is_repeated:
        _set_list(message, field, value, path)
    elif field.message_type is not None:
        fill(getattr(message, field.name), value, path)
    else:
        _set_scalar(message, field, value, {field.name: _json(value)}, path)


def _set_list(message: Message, field: FieldDescriptor, values: object, path: str) -> None:
    if not isinstance(values, list):
        raise recipe_error(Reason.INVALID_RECIPE, path, f"this is a list, got {_shown(values)}")
    for index, value in enumerate(values):
        element = f"{path}[{index}]"
        if field.message_type is not None:
            fill(getattr(message, field.name).add(), value, element)
        else:
            _set_scalar(message, field, value, {field.name: [_json(value)]}, element)


def _set_map(message: Message, field: FieldDescriptor, values: object, path: str) -> None:
    """Set a map of names to messages or to numbers."""
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise recipe_error(Reason.INVALID_RECIPE, path, f"this is a mapping of names; got {_shown(values)}")
    entry: Any = field.message_type
    value_field: FieldDescriptor = entry.fields_by_name["value"]
    for name, value in values.items():
        element = f'{path}["{name}"]'
        if value_field.message_type is not None:
            fill(getattr(message, field.name)[name], value, element)
        else:
            _set_scalar(message, value_field, value, {field.name: {name: value}}, element)


def _set_scalar(message: Message, field: FieldDescriptor, value: object, content: dict[str, Any], path: str) -> None:
    """Let protobuf read `content`: the value, by the name of the message's field."""
    is_flag = field.type == FieldDescriptor.TYPE_BOOL
    if isinstance(value, bool) is not is_flag:  # protobuf would take true for 1.0
        raise _refused(field, value, path)
    if field.enum_type is not None and isinstance(value, str):
        words = {word: name for name, word in _plain_words(field.enum_type).items()}
        content = {field.name: words.get(value, value)}
    try:
        message.MergeFrom(json_format.ParseDict(content, type(message)()))  # ParseDict empties a list that it adds to
    except (json_format.ParseError, TypeError, ValueError, OverflowError) as error:
        raise _refused(field, value, path) from error


def _refused(field: FieldDescriptor, value: object, path: str) -> RecipeError:
    expected = f"one of {_given_words(field)}" if field.enum_type else SCALARS[field.type]
    return recipe_error(_reason(field, value), path, f"this is {expected}; got {_shown(value)}")


def _given_words(field: FieldDescriptor) -> str:
    words = {name: word for name, word in _plain_words(field.enum_type).items() if word != "unspecified"}
    return f"{', '.join(words.values())}, or in full {', '.join(words)}"


def _reason(field: FieldDescriptor, value: object) -> Reason:
    if field.enum_type is not None and isinstance(value, str):
        return Reason.UNSUPPORTED_FIELD
    is_amount = field.containing_type is Amount.DESCRIPTOR
    return Reason.AMOUNT_OUT_OF_RANGE if is_amount else Reason.INVALID_RECIPE


def _json(value: Any) -> Any:
    """Return a value as in JSON: protobuf's mapping writes infinities and NaN as strings."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _shown(value: object) -> str:
    return type(value).__name__ if isinstance(value, dict | list) else repr(value)[:80]
