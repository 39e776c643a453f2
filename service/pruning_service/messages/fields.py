"""Fields of messages to fields of values and back, for values that have the same field names as their message.

A new score or granularity needs no code here as long as its fields are numbers, texts, truths, lists of these, norms,
or one of the parts below. A field that is absent from a message has the value's default.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pruning_engine.norm import NamedNorm, Norm
from pruning_engine.recipe import Argument, ChannelGroup, ChannelSlice, UnitList, UnitValues
from pruning_engine.runtime.yield_points import with_yields
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.status import Refusal, Violation

Value = TypeVar("Value")

_PARTS_BETWEEN_YIELDS: Final = 64

_NAMED_NORMS: Final = {pb.NAMED_NORM_FRO: NamedNorm.FRO, pb.NAMED_NORM_NUC: NamedNorm.NUC}
_PARTS: Final[Mapping[str, type]] = {
    "Group": ChannelGroup,
    "Tie": ChannelSlice,
    "UnitList": UnitList,
    "UnitValues": UnitValues,
}
"""Messages within messages, and the values that they are read into."""


def read(kind: type[Value], message: Message, path: str) -> Value:
    """Return the value of a message at `path`. Raises: Refusal with the path of a part that is missing."""
    present = {descriptor.name for descriptor, _ in message.ListFields()}
    given: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type] # every kind is a dataclass
        if field.name in present or not _has_default(field):
            content = getattr(message, field.name)
            given[field.name] = _read(_descriptor(message, field.name), content, f"{path}.{field.name}")
    return kind(**given)


def write(value: object, message: Message) -> None:
    """Write a value into its message, which is then present."""
    message.SetInParent()
    for field in fields(value):  # type: ignore[arg-type] # every value is a dataclass
        content = getattr(value, field.name)
        if content != _default(field):
            _write(message, _descriptor(message, field.name), content)


def invalid(path: str, description: str) -> Refusal:
    """Return the refusal of one field of the options."""
    return Refusal(
        reason=Reason.INVALID_RECIPE,
        message=f"{path}: {description}",
        violations=(Violation(path, description),),
        metadata={"field": path},
    )


def _descriptor(message: Message, name: str) -> FieldDescriptor:
    return message.DESCRIPTOR.fields_by_name[name]  # type: ignore[return-value] # one of two classes, as alike as twins


def _has_default(field: "Field[Any]") -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _default(field: "Field[Any]") -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _read(field: FieldDescriptor, content: Any, path: str) -> object:
    if _is_map(field):
        return {key: _read_item(value, f'{path}["{key}"]') for key, value in content.items()}
    if field.is_repeated:
        if field.message_type is None:
            return tuple(content)
        parts = with_yields(enumerate(content), _PARTS_BETWEEN_YIELDS)
        return tuple(_read_one(field, value, f"{path}[{position}]") for position, value in parts)
    return _read_one(field, content, path)


def _read_one(field: FieldDescriptor, content: Any, path: str) -> object:
    if field.message_type is None:
        return content
    if isinstance(content, pb.Norm):
        return _read_norm(content, path)
    return read(_PARTS[field.message_type.name], content, path)


def _read_norm(norm: pb.Norm, path: str) -> Norm:
    match norm.WhichOneof("order"):
        case "p":
            return norm.p
        case "named" if norm.named in _NAMED_NORMS:
            return _NAMED_NORMS[norm.named]
    raise invalid(path, "a norm needs p, or a name: NAMED_NORM_FRO or NAMED_NORM_NUC")


def _read_item(content: Any, path: str) -> object:
    part = _PARTS.get(content.DESCRIPTOR.name) if isinstance(content, Message) else None
    return _read_argument(content, path) if part is None else read(part, content, path)


def _read_argument(content: Any, path: str) -> Argument:
    if not isinstance(content, pb.Argument):
        return content  # type: ignore[no-any-return] # of a map of numbers
    kind = content.WhichOneof("value")
    if kind is None:
        raise invalid(path, "an argument needs an integer, a number, a text or a flag")
    return getattr(content, kind)  # type: ignore[no-any-return]


def _write(message: Message, field: FieldDescriptor, content: Any) -> None:
    target = getattr(message, field.name)
    if _is_map(field):
        for key, value in content.items():
            _write_item(field, target, key, value)
    elif isinstance(target, pb.Norm):
        _write_norm(target, content)
    elif isinstance(target, Message):
        write(content, target)
    elif not field.is_repeated:
        setattr(message, field.name, content)
    elif field.message_type is None:
        target.extend(content)
    else:
        for each in content:
            write(each, target.add())


def _write_item(field: FieldDescriptor, target: Any, key: str, value: Any) -> None:
    if type(value) in _PARTS.values():
        write(value, target[key])
        return
    entry = field.message_type
    if entry is None or entry.fields_by_name["value"].message_type is None:
        target[key] = value
    else:
        target[key].CopyFrom(_ARGUMENT_OF[type(value)](value))


_ARGUMENT_OF: Final[Mapping[type, Callable[[Any], pb.Argument]]] = {
    bool: lambda value: pb.Argument(flag=value),
    int: lambda value: pb.Argument(integer=value),
    float: lambda value: pb.Argument(number=value),
    str: lambda value: pb.Argument(text=value),
}


def _write_norm(target: pb.Norm, norm: Norm) -> None:
    if isinstance(norm, NamedNorm):
        target.named = next(number for number, named in _NAMED_NORMS.items() if named is norm)
    else:
        target.p = norm


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
