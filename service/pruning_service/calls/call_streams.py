"""What a Prune call needs of its two streams, whatever they are: gRPC's, or a caller's in the same process."""

from typing import Protocol

from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.status import Refusal
from pruning_service.streams.byte_streams import ByteSink, ByteSource, RereadableSource, Reserve


class Requests(ByteSource, Protocol):
    """What the client sends: options, then the bytes of a file."""

    @property
    def rereadable(self) -> RereadableSource | None:
        """The source itself, if its bytes can be had again."""

    @property
    def is_whole(self) -> bool:
        """Whether the options came with the whole file, in one message."""

    async def options(self, reserve: Reserve) -> pb.PruneOptions:
        """Return the options, for whose bytes `reserve` is called before they are parsed. Raises: Refusal."""

    async def sha256(self) -> str:
        """Return the digest of the bytes read, if the options ask for it; else an empty text."""

    async def discard(self, seconds: float) -> None:
        """Read and drop the rest, for `seconds` at most."""


class Responses(ByteSink, Protocol):
    """What the client is sent: messages, and the bytes of a result between them."""

    def send(self, message: pb.PruneResponse) -> None:
        """Send a message behind all bytes written before."""

    def join(self) -> None:
        """Send plan, data and report in one message, unless they are long."""

    def take_digest(self) -> None:
        """Take the digest of all bytes that are sent from now on."""

    async def sha256(self) -> str:
        """Return the digest of the bytes sent, if one is taken; else an empty text."""

    async def drained(self) -> None:
        """Wait until the client has taken everything."""

    def drop(self) -> None:
        """Drop what the client has not taken yet."""

    async def is_taken(self, seconds: float) -> bool:
        """Return whether the client takes everything within `seconds`."""

    def close(self) -> None:
        """Send no more."""


class EarlyEnd(Protocol):
    """Ends a call whose client does not take its messages."""

    async def send_status(self, refusal: Refusal) -> None:
        """End the call with a status, behind what the client has not taken yet."""

    def reset(self) -> None:
        """End the call without a status."""
