"""The contract's reference: services, messages and enums with their comments, from the descriptors of the .proto."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

from scripts.environments import ROOT
from scripts.imported_protos import copy_into

PROTO: Final = "pruning_proto/v1/pruning.proto"

Place: TypeAlias = tuple[int, ...]
"""Where a declaration is in its file: numbers of fields of descriptor.proto, each followed by an index."""
Comments: TypeAlias = Mapping[Place, str]

_SYNTAX: Final = (12,)
_MESSAGE, _ENUM, _SERVICE = 4, 5, 6  # of a file
_FIELD, _NESTED, _NESTED_ENUM, _ONEOF = 2, 3, 4, 8  # of a message
_MEMBER: Final = 2  # a value of an enum, a method of a service
_BUF: Final = Path(sys.executable).parent / "buf"
_LINT: Final = re.compile(r"^ *buf:lint:.*$", re.M)
_CODE: Final = re.compile(r"(`[^`]*`)")
_NAMED: Final = re.compile(r"(?<![\w.`\[/])([A-Z]\w+)((?:\.\w+)?)(?![\w\]])")
_CAMEL: Final = re.compile(r"[A-Z]\w*[a-z]\w*[A-Z]")


def write_page(page: Path) -> None:
    """Write the reference. Raises: subprocess.CalledProcessError if the .proto is not valid; buf says why."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(reference(contract_descriptor()), encoding="utf-8")


def contract_descriptor() -> FileDescriptorProto:
    """Return the contract's descriptor, with comments."""
    with tempfile.TemporaryDirectory() as folder:
        sources, result = Path(folder) / "sources", Path(folder) / "set.binpb"
        copy_into(sources)
        contract = sources / PROTO
        contract.parent.mkdir(parents=True)
        contract.write_bytes((ROOT / "proto" / PROTO).read_bytes())
        subprocess.run([_BUF, "build", sources, "--as-file-descriptor-set", "--output", result], check=True)
        described = FileDescriptorSet()
        described.ParseFromString(result.read_bytes())
    return next(file for file in described.file if file.name == PROTO)


def reference(file: FileDescriptorProto) -> str:
    """Return the page: what the file says of itself, then all that it has, in its order."""
    names = {each.name for each in file.message_type} | {each.name for each in file.enum_type}
    comments = _comments(file, names)
    parts = [f"# The contract: `{file.package}`\n", comments.get(_SYNTAX, ""), "", "## Services\n"]
    for at, service in enumerate(file.service):
        parts += _service(service, (_SERVICE, at), comments)
    parts.append("## Messages\n")
    for at, message in enumerate(file.message_type):
        parts += _message(message, message.name, (_MESSAGE, at), comments)
    parts.append("## Enums\n")
    for at, enum in enumerate(file.enum_type):
        parts += _enum(enum, enum.name, (_ENUM, at), comments)
    return "\n".join(parts)


def _service(service: ServiceDescriptorProto, place: Place, comments: Comments) -> Iterator[str]:
    yield f"### {service.name}\n\n{comments.get(place, '')}\n"
    for at, method in enumerate(service.method):
        asked, answered = (
            f"{'stream of ' if streams else ''}{_type_link(name)}"
            for streams, name in (
                (method.client_streaming, method.input_type),
                (method.server_streaming, method.output_type),
            )
        )
        yield f"#### {service.name}.{method.name}\n\n{asked} → {answered}\n"
        yield f"{comments.get((*place, _MEMBER, at), '')}\n"


def _message(message: DescriptorProto, name: str, place: Place, comments: Comments) -> Iterator[str]:
    """Return a message's part of the page, and then those that are declared in it."""
    yield f"### {name}\n\n{comments.get(place, '')}\n"
    nested = {each.name: each for each in message.nested_type}
    if message.field:
        yield "| field | type | meaning |\n| --- | --- | --- |"
        for at, field in enumerate(message.field):
            yield _row(
                f"`{field.name}` = {field.number}",
                _field_type(field, nested) + _oneof(message, field),
                comments.get((*place, _FIELD, at), ""),
            )
        yield ""
    for at, oneof in enumerate(message.oneof_decl):
        if comment := comments.get((*place, _ONEOF, at)):
            yield f"One of `{oneof.name}`: {comment}\n"
    for at, inner in enumerate(message.nested_type):
        if not inner.options.map_entry:
            yield from _message(inner, f"{name}.{inner.name}", (*place, _NESTED, at), comments)
    for at, enum in enumerate(message.enum_type):
        yield from _enum(enum, f"{name}.{enum.name}", (*place, _NESTED_ENUM, at), comments)


def _enum(enum: EnumDescriptorProto, name: str, place: Place, comments: Comments) -> Iterator[str]:
    yield f"### {name}\n\n{comments.get(place, '')}\n\n| value | meaning |\n| --- | --- |"
    for at, value in enumerate(enum.value):
        yield _row(f"`{value.name}` = {value.number}", comments.get((*place, _MEMBER, at), ""))
    yield ""


def _row(*cells: str) -> str:
    texts = (re.sub(r"\n{2,}", "<br><br>", cell).replace("\n", " ").replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(texts)} |"


def _field_type(field: FieldDescriptorProto, nested: Mapping[str, DescriptorProto]) -> str:
    entry = nested.get(field.type_name.rpartition(".")[2])
    if entry is not None and entry.options.map_entry:
        key, value = (_scalar_or_link(each) for each in entry.field)
        return f"map of {key} to {value}"
    repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    return f"{'repeated ' if repeated else ''}{_scalar_or_link(field)}"


def _oneof(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    """Return what a field's type says of the fields of which one is set."""
    if field.proto3_optional:
        return ", optional"
    return f", one of `{message.oneof_decl[field.oneof_index].name}`" if field.HasField("oneof_index") else ""


def _scalar_or_link(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return _type_link(field.type_name)
    return f"`{FieldDescriptorProto.Type.Name(field.type).removeprefix('TYPE_').lower()}`"


def _type_link(full_name: str) -> str:
    """Return a link to a type of this contract, the name of another."""
    name = full_name.removeprefix(".pruning.v1.")
    return f"`{full_name[1:]}`" if name == full_name else f"[`{name}`](#{_anchor(name)})"


def _anchor(name: str) -> str:
    """Return the anchor of a heading, as the site's generator makes it."""
    return name.lower().replace(".", "")


def _comments(file: FileDescriptorProto, names: set[str]) -> Comments:
    """Return all comments as Markdown, with links to what they name."""
    found = {}
    for location in file.source_code_info.location:
        detached = "\n".join(location.leading_detached_comments) if tuple(location.path) == _SYNTAX else ""
        comment = detached or location.leading_comments or location.trailing_comments
        found[tuple(location.path)] = as_markdown(_LINT.sub("", comment), names)
    return found


def as_markdown(comment: str, names: set[str]) -> str:
    """Return a comment as Markdown: nothing in it is taken for markup but code, and these names are links."""
    lines = "\n".join(line.removeprefix(" ") for line in comment.strip("\n").split("\n")).strip()
    return "".join(part if part.startswith("`") else _prose(part, names) for part in _CODE.split(lines))


def _prose(text: str, names: set[str]) -> str:
    """Return text without what Markdown would take for markup, in which names of this contract are links."""

    def led(found: re.Match[str]) -> str:
        name, member = found.groups()
        if name not in names or not (member or _CAMEL.match(name)):
            return found[0]
        return f"[`{name}{member}`](#{_anchor(name)})"

    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("*", "\\*")
    return _NAMED.sub(led, escaped)
