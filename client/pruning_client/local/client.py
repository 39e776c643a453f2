"""A client without a server: the service's own pipeline, in this process.

A local run has the verbs of `Client`, the errors of a server and its settings (`PRUNING_*`), and no network: bytes go
from the file through the engine into the result. Nothing is left to clean up but the unfinished result, which
`replacing` removes.
"""

import logging
import math
import os
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import chain
from types import ModuleType
from typing import Final

from pruning_client.calls.background_writer import BackgroundWriter
from pruning_client.calls.exchange import Exchange, Watcher
from pruning_client.calls.outcome import Outcome
from pruning_client.checkpoints.byte_ranges import ByteRanges
from pruning_client.checkpoints.readable import DiskFile
from pruning_client.checkpoints.stretches import stretches_of
from pruning_client.clients.sync import Client
from pruning_client.errors import DeadlineError, InternalError, PruningError, UnavailableError
from pruning_client.local import garbage
from pruning_client.transport.retry import Attempts
from pruning_proto.framing import Data
from pruning_proto.v1 import pruning_pb2 as pb

_SERVER_NEEDS: Final = (
    *("numpy", "re2", "pydantic_settings"),
    *("grpc_health", "grpc_reflection", "prometheus_client"),
)
"""What a server needs beyond the client's own packages, by the names under which they are imported."""

_SHOWN_LINES: Final = 15
"""Of the log, with an internal error."""


def check_server_installed() -> None:
    """Raise UnavailableError, saying what to install, if a server's packages are missing."""
    missing = [name for name in _SERVER_NEEDS if find_spec(name) is None]
    if missing:
        raise UnavailableError(
            f"the server is not installed here (no {', '.join(missing)}): pip install 'pruning-service[local]', or "
            "'pruning-service[service]' for GPUs and installed methods"
        )


def server_parser() -> ArgumentParser | None:
    """Return the parser of the server's options; None if it is not installed."""
    if any(find_spec(name) is None for name in _SERVER_NEEDS):
        return None
    from pruning_service.options import server_parser as parser  # noqa: PLC0415 - with pydantic

    return parser()


class LocalClient(Client):
    """A `Client` whose calls run in this process. Made for one command: it has no time limit unless one is given.

    Raises: UnavailableError if the packages of `[local]` are not installed. Calls: as `Client`, but for the network's.
    Example:
        >>> with LocalClient() as client:
        ...     result = client.prune({"fc1.weight": weight}, rules.l1_unstructured(0.5))
        >>> result.report.pruned
        16
    """

    def __init__(self, *, timeout: float | None = None) -> None:
        super().__init__("this process", timeout=math.inf if timeout is None else timeout, retries=0)

    def _connect(self) -> None:
        self._connection = _LocalConnection()


class _LocalConnection:
    """A `clients.sync.Connection` to the pipeline in this process.

    Raises: UnavailableError if its packages are not installed, or `PRUNING_*` variables are invalid.
    """

    def __init__(self) -> None:
        with garbage.importing():
            self._service = _service()
        try:
            self._settings = self._service.settings_from(os.environ)
        except ValueError as error:
            raise UnavailableError(str(error)) from error

    def prune(
        self, exchange: Exchange, write: Callable[[Data], object], watcher: Watcher | None, attempts: Attempts
    ) -> Outcome:
        """Carry out a call. Raises: PruningError; whatever `write`, the source or `watcher` raise."""

        def step() -> None:
            if attempts.seconds_left == 0:
                raise DeadlineError("pruning did not finish in time; allow it more with a longer timeout")
            if watcher is not None:
                watcher(exchange.progress)

        def pieces() -> Iterator[Data]:
            for message in chain(exchange.opening(), exchange.body()):
                if isinstance(message, pb.PruneRequest):
                    continue  # the options, which are an argument
                yield message
                exchange.sent(len(message))
                step()

        def receive(message: pb.PruneResponse | memoryview) -> None:
            data = exchange.receive(message)
            if data is not None:
                writer.write(data)
            step()

        writer = BackgroundWriter(write, self._service.BACKLOG_BYTES)
        with _logged() as records, self._device_checked(), writer:
            again = partial(_read_again, exchange, step)
            self._service.prune(exchange.options, pieces(), receive, self._settings, again, is_near=_is_near(exchange))
        if exchange.failure is not None:
            _explain(exchange.failure, records)
        return exchange.finish()

    def capabilities(self, attempts: Attempts) -> pb.GetCapabilitiesResponse:  # noqa: ARG002 - it takes no time
        """Return what a local run offers. Raises: UnavailableError if its device is missing."""
        with self._device_checked():
            response: pb.GetCapabilitiesResponse = self._service.capabilities(self._settings)
        return response

    def close(self) -> None:
        """Do nothing: a local run leaves nothing open."""

    @contextmanager
    def _device_checked(self) -> Iterator[None]:
        try:
            yield
        except self._service.DeviceError as error:
            raise UnavailableError(str(error)) from error


def _is_near(exchange: Exchange) -> bool:
    """Whether all files of the model are on the disk."""
    files = (stretch.file for stretch in stretches_of(exchange.source))
    return all(file is None or isinstance(file, DiskFile) for file in files)


def _read_again(exchange: Exchange, step: Callable[[], object], ranges: ByteRanges) -> Iterator[memoryview]:
    """Yield ranges of the model once more, in pieces; call `step` after each."""
    for piece in exchange.read_again(ranges):
        yield piece
        step()


def _service() -> ModuleType:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is imported; see pruning_service.startup
    try:
        from pruning_service import local  # noqa: PLC0415 - needs an extra, and only a local run needs it
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"to prune without a server, more packages are needed (no {error.name}): pip install "
            "'pruning-service[local]'; or name a server with --server HOST:PORT"
        ) from error
    return local


@contextmanager
def _logged() -> Iterator[list[logging.LogRecord]]:
    """Return a list that receives what the service logs inside the block, instead of stderr."""
    records: list[logging.LogRecord] = []
    handler, logger = _ListHandler(records), logging.getLogger("pruning_service")
    logger.addHandler(handler)
    try:
        yield records
    finally:
        logger.removeHandler(handler)


class _ListHandler(logging.Handler):
    """Appends records to a list."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record."""
        self._records.append(record)


def _explain(error: PruningError, records: list[logging.LogRecord]) -> None:
    """Add what was logged to an error that has no other explanation: there is no server whose log has it."""
    error.metadata.pop("request_id", None)
    if isinstance(error, InternalError):
        lines = [line for record in records for line in logging.Formatter().format(record).splitlines()]
        for line in lines[-_SHOWN_LINES:]:
            error.add_note(line)
