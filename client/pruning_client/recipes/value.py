"""`Value`: a message of the contract as an immutable value, which is what callers get and give.

The contract's own messages can be changed, do not hash, and print as a dump of their fields. They stay inside: a value
becomes one where a request is made.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

from google.protobuf.message import Message

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True, repr=False)
class Value(Generic[MessageT]):
    """A message by its bytes. Values of equal bytes are equal, and hash, copy and pickle as such."""

    serialized: bytes
    _message_type: ClassVar[type[Any]]

    @classmethod
    def from_message(cls, message: MessageT) -> Self:
        """Return the value of a message, which may be changed afterwards."""
        return cls(message.SerializeToString(deterministic=True))

    def to_message(self) -> MessageT:
        """Return a new message."""
        message: MessageT = self._message_type.FromString(self.serialized)
        return message
