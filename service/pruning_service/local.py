"""One Prune call in this process: the pipeline and the messages of a server, without gRPC and without a network.

The caller hands in what it would send, and receives what it would be sent; an error is a `failure` message with the
same text and reason as over the wire. Nothing on the import path of this module imports grpc, torch (unless there may
be a GPU) or prometheus_client.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from importlib.metadata import version
from typing import Final, TypeAlias

from pruning_engine.runtime.threads import set_threads
from pruning_proto.framing import Data
from pruning_proto.limits import MIB
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.calls.capabilities import capabilities as described
from pruning_service.calls.prune_call import CallResources, PruneCall
from pruning_service.local_environment import read_local_settings
from pruning_service.local_settings import LocalSettings, SettingsError
from pruning_service.messages.unknown_fields import reject_unknown_fields
from pruning_service.resources.device_faults import DeviceFaults
from pruning_service.resources.devices import DeviceError, find_device, use_kernels
from pruning_service.resources.engine_worker import EngineWorker
from pruning_service.resources.memory_budget import Budget
from pruning_service.resources.spool import SpoolDirectory, default_spool_folder
from pruning_service.status import Refusal
from pruning_service.streams.byte_streams import Reserve
from pruning_service.streams.digest import Digest
from pruning_service.streams.source_store import ReadAgain, SourceStore
from pruning_service.streams.tensor_reader import HeaderLimits

__all__ = [
    "BACKLOG_BYTES",
    "DeviceError",
    "LocalSettings",
    "Receive",
    "SettingsError",
    "capabilities",
    "prune",
    "settings_from",
]

DISTRIBUTION: Final = "pruning-service"

Receive: TypeAlias = Callable[[pb.PruneResponse | memoryview], object]
"""Takes a message, or bytes of the result, which stay as they are until nobody refers to them."""

BACKLOG_BYTES: Final = 2 * MIB
"""What the caller may hold of the result, beside the part that it is writing, before it takes more."""


def settings_from(environment: Mapping[str, str]) -> LocalSettings:
    """Return the settings that `PRUNING_*` variables give, as a server reads them. Raises: SettingsError."""
    return read_local_settings(environment)


def prune(  # noqa: PLR0913 - what a run needs, and how it can read
    options: pb.PruneOptions,
    pieces: Iterable[Data],
    receive: Receive,
    settings: LocalSettings | None = None,
    read_again: ReadAgain | None = None,
    *,
    is_near: bool = True,
) -> None:
    """Prune one file.

    `pieces` are the bytes of the file, its header included, `options.total_bytes` in all; of format PLAN only the
    header. Each piece may reuse the memory of the one before, and what is beyond the header is asked for only once
    the plan has been received. `receive` gets what a server would send, in order, on this thread; it may hold
    `BACKLOG_BYTES` of the result beside the part that it is writing. `read_again` returns ranges of the bytes beyond
    the header once more: with it, rules of global scope need not hold more tensors than the settings allow, if they can
    do without. It is called on other threads. `is_near`: it is fast, so that large tensors are rather read again than
    held. What else does not fit, results whose header is known only at the end among it, is kept in a file without a
    name in `settings.spool_dir`, or in the system's folder for large temporary files.

    Raises: what `pieces` or `receive` raise; DeviceError, a ValueError. KeyboardInterrupt ends the run in milliseconds.
    """
    settings = settings or read_local_settings({})
    set_threads(settings.threads)
    use_kernels(settings.kernels)
    device = find_device(settings.device)
    with (
        closing(EngineWorker(device)) as worker,
        closing(
            _prune(_Source(options, pieces, read_again, is_near=is_near), _Sink(receive), settings, worker)
        ) as call,
    ):
        try:
            asyncio.run(call)  # an interrupt before it starts leaves `call` to be closed
        except _CallerFailed as failed:
            error = failed.error
        else:
            return
    raise error


def capabilities(settings: LocalSettings | None = None) -> pb.GetCapabilitiesResponse:
    """Return what a local run offers. Raises: DeviceError."""
    settings = settings or read_local_settings({})
    use_kernels(settings.kernels)
    return described(_version(), find_device(settings.device), settings)


@cache
def _version() -> str:
    return version(DISTRIBUTION)  # it reads and parses the distribution's metadata: a third of a small call


async def _prune(source: "_Source", sink: "_Sink", settings: LocalSettings, worker: EngineWorker) -> None:
    resources = CallResources(
        budget=Budget(settings.memory_bytes, queue_seconds=0),
        worker=worker,
        faults=DeviceFaults(worker.device),
        limits=HeaderLimits(header_bytes=settings.header_bytes, max_tensors=settings.max_tensors),
        version=_version(),
        spool=SpoolDirectory(settings.spool_dir or default_spool_folder(), settings.spool_bytes),
    )
    await PruneCall(source, sink, sink, secrets.token_hex(8), resources).run()


class _CallerFailed(BaseException):
    """Ends a run whose caller's own code has raised."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class _Source:
    """The caller's bytes as the `Requests` of a call."""

    def __init__(
        self, options: pb.PruneOptions, pieces: Iterable[Data], read_again: ReadAgain | None, *, is_near: bool
    ) -> None:
        self.is_near = is_near
        self.total_bytes = options.total_bytes
        self._read_again = read_again
        self.is_whole = False
        self._options = options
        self._pieces: Iterator[Data] = iter(pieces)
        self._digest = Digest() if options.digests else None

    async def options(self, reserve: Reserve) -> pb.PruneOptions:
        """Return the options. Raises: Refusal for what is unknown here, and what `reserve` raises."""
        await reserve(self._options.ByteSize())
        reject_unknown_fields(self._options)
        return self._options

    async def read(self) -> memoryview | None:
        """Return the next piece, hashed completely: the next one may have the same memory."""
        await asyncio.sleep(0)  # so that an interrupt is noticed, and finished results are received
        try:
            piece = next(self._pieces, None)
        except Exception as error:  # noqa: BLE001 - the caller's
            raise _CallerFailed(error) from None
        if piece is None:
            return None
        if self._digest is not None:
            await self._digest.take(piece)
            await self._digest.caught_up()
        return memoryview(piece)

    @property
    def rereadable(self) -> "_Source | None":
        """This source, if its bytes can be had again."""
        return self if self._read_again is not None else None

    def again(self, skipped: Sequence[tuple[int, int]]) -> SourceStore:
        """Return the bytes beyond the header, without what is skipped, as a store."""
        return SourceStore(self._ranges, skipped)

    def _ranges(self, ranges: Sequence[tuple[int, int]]) -> Iterator[memoryview]:
        if self._read_again is None:
            raise RuntimeError("the pieces cannot be had again")
        try:
            yield from self._read_again(ranges)
        except Exception as error:  # noqa: BLE001 - the caller's
            raise _CallerFailed(error) from None

    async def sha256(self) -> str:
        """Return the digest of the pieces in hex; empty if not asked for."""
        return "" if self._digest is None else await self._digest.hexdigest()

    async def discard(self, seconds: float) -> None:
        """Do nothing: there is nobody who waits for the rest to be read."""


class _Sink:
    """The caller's `receive` as the `Responses` of a call: whatever is sent is taken at once."""

    backlog_bytes = BACKLOG_BYTES

    def join(self) -> None:
        """Do nothing: a message costs nothing."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._digest: Digest | None = None

    def send(self, message: pb.PruneResponse) -> None:
        """Send a message."""
        self._deliver(message)

    async def write(self, data: memoryview) -> None:
        """Send bytes of the result; formats without a file have an empty header, which is not sent."""
        if len(data) == 0:
            return
        if self._digest is not None:
            await self._digest.take(data)
        self._deliver(data)

    def _deliver(self, message: pb.PruneResponse | memoryview) -> None:
        try:
            self._receive(message)
        except Exception as error:  # noqa: BLE001 - the caller's
            raise _CallerFailed(error) from None

    def take_digest(self) -> None:
        """Take the digest of all bytes from now on."""
        self._digest = Digest()

    async def sha256(self) -> str:
        """Return the digest of the bytes in hex; empty if none is taken."""
        return "" if self._digest is None else await self._digest.hexdigest()

    async def drained(self) -> None:
        """Do nothing: all is taken."""

    async def nearly_drained(self) -> None:
        """Do nothing: all is taken."""

    async def is_taken(self, seconds: float) -> bool:  # noqa: ARG002
        """Return True: all is taken."""
        return True

    def drop(self) -> None:
        """Do nothing: all is taken."""

    def close(self) -> None:
        """Do nothing."""

    async def send_status(self, refusal: Refusal) -> None:
        """Do nothing: the failure has been received."""

    def reset(self) -> None:
        """Do nothing: the failure has been received."""
