"""What the state of a job is made of: small JSON objects."""

import json
from dataclasses import dataclass, replace
from typing import Any, Final, Self, TypeVar

from google.longrunning.operations_proto_pb2 import Operation
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as error_details_pb2  # noqa: PLC0414 - the details of an operation's error
from google.rpc import status_pb2 as status_pb2  # noqa: PLC0414 - and the error itself: JSON names their types

from pruning_proto.v1 import pruning_pb2 as pb

NOBODY: Final = ""
"""The owner of a lease that was given back."""

MessageT = TypeVar("MessageT", bound=Message)


class RecordError(ValueError):
    """An object of a job's state is not what this version writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """What was asked, and by whom. `uid` is drawn for each job; `created` is as Timestamp's JSON has it.

    `is_deleted`: the job is gone, and its name free.
    """

    uid: str
    caller: str
    created: str
    request: pb.PruneCheckpointRequest
    is_deleted: bool = False

    def to_json(self) -> bytes:
        """Return the object's bytes."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "request"}
        return _encoded(fields | {"request": _dict(self.request)})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the record. Raises: RecordError."""
        fields = _decoded(data, *cls.__slots__)
        request = _message(fields["request"], pb.PruneCheckpointRequest())
        return cls(**{name: fields[name] for name in cls.__slots__ if name != "request"}, request=request)

    @property
    def seed(self) -> int:
        """The seed of a recipe without one: of the job, so that every attempt draws the same."""
        return int(self.uid[:16], 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """Who carries out a job, and how far it is. Each renewal has another `beat`, so that its bytes differ.

    Attributes:
        owner: drawn for each holding; NOBODY if it was given back.
        valid_seconds: how long others see this record unchanged before they may take the job over.
        lone_attempts: attempts begun since the last one that finished a part.
        has_target: whether what is at the target is the job's own.
        used_seconds: how long earlier attempts had the job.
    """

    owner: str
    beat: int = 0
    valid_seconds: float
    lone_attempts: int = 0
    has_target: bool = False
    used_seconds: float = 0.0
    metadata: pb.PruneCheckpointMetadata

    def to_json(self) -> bytes:
        """Return the object's bytes."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "metadata"}
        return _encoded(fields | {"metadata": _dict(self.metadata)})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the record. Raises: RecordError."""
        fields = _decoded(data, *cls.__slots__)
        metadata = _message(fields["metadata"], pb.PruneCheckpointMetadata())
        return cls(**{name: fields[name] for name in cls.__slots__ if name != "metadata"}, metadata=metadata)

    def next(self, **changes: Any) -> Self:
        """Return the record that replaces this one."""
        return replace(self, beat=self.beat + 1, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRecord:
    """How a job ended, which never changes: its operation, done."""

    operation: Operation

    def to_json(self) -> bytes:
        """Return the object's bytes."""
        return _encoded({"operation": _dict(self.operation)})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the record. Raises: RecordError."""
        return cls(operation=_message(_decoded(data, "operation")["operation"], Operation()))


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRecord:
    """Who had a job cancelled."""

    caller: str

    def to_json(self) -> bytes:
        """Return the object's bytes."""
        return _encoded({"caller": self.caller})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the record. Raises: RecordError."""
        return cls(caller=_decoded(data, "caller")["caller"])


def _encoded(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, indent=1).encode()


def _decoded(data: bytes, *names: str) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except ValueError as error:
        raise RecordError(f"a record is not JSON: {error}") from None
    if not isinstance(fields, dict) or not fields.keys() >= set(names):
        raise RecordError(f"a record is not an object with {', '.join(names)}")
    return fields


def _dict(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


def _message(fields: Any, message: MessageT) -> MessageT:
    try:
        ParseDict(fields, message, ignore_unknown_fields=True)  # of a newer server
    except ParseError as error:
        raise RecordError(f"a record has another content: {error}") from None
    return message
