"""What `Client` and `AsyncClient` share: settings, checks, the time of a call, and what a call is before it is made.

The verbs are defined once, in `Client`. They describe a call as a `PruneCall` and hand it to `_run`, which `Client`
carries out and `AsyncClient` awaits. Imports no gRPC: `_connect` does, when a client is made.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, TypeVar

from pruning_client.calls.exchange import Exchange, Watcher
from pruning_client.calls.outcome import Outcome
from pruning_client.calls.request import PruneRequestSpec
from pruning_client.calls.sinks import Sink
from pruning_client.errors import PruningError, closed_error
from pruning_client.transport.addresses import Target, name_of
from pruning_client.transport.credentials import Tls, Token, security_of
from pruning_client.transport.retry import (
    RETRIES,
    Attempts,
    check_retries,
    check_timeout,
    deadline,
    is_passing,
)

SinkT = TypeVar("SinkT", bound=Sink)
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class PruneCall(Generic[SinkT, ValueT]):
    """A call as its verb describes it, before anything is read or sent.

    Attributes:
        prepare: returns the request; reads headers of files, and so blocks.
        open_sink: returns where the result is written, a new one for each attempt.
        value_of: returns what the verb returns, from the sink and what the call returned.
        watcher: called with the progress.
        timeout: in seconds; None: the client's.
    """

    prepare: Callable[[], PruneRequestSpec]
    open_sink: Callable[[Exchange], AbstractContextManager[SinkT]]
    value_of: Callable[[PruneRequestSpec, Outcome, SinkT], ValueT]
    watcher: Watcher | None
    timeout: float | None


class ClientBase(ABC):
    """The settings of a client, and what is the same with and without an event loop."""

    def __init__(  # noqa: PLR0913 - one keyword for each setting
        self,
        target: Target,
        *,
        tls: Tls | bool | None = None,
        token: Token | None = None,
        insecure: bool = False,
        timeout: float | None = None,
        retries: int = RETRIES,
    ) -> None:
        self._name = name_of(target)
        self._timeout = timeout if timeout is None else check_timeout(timeout)
        self._retries = check_retries(retries)
        self._process = ProcessGuard()
        self._target = target
        self._security = security_of(tls, token, insecure=insecure)
        self._connect()

    @abstractmethod
    def _connect(self) -> None:
        """Make the connection, which connects when it is first used. The last step of the constructor."""

    @property
    @abstractmethod
    def _is_closed(self) -> bool:
        """Whether `close` was called."""

    def _check_usable(self) -> None:
        """Raise RuntimeError in a forked process, ValueError after `close`."""
        self._process.check()
        if self._is_closed:
            raise ValueError(f"this client of {self._name} is closed; make a new one")

    def _attempts(self, timeout: float | None, default: float) -> Attempts:
        """Return the attempts of a call that begins now. Raises: ValueError for an invalid timeout."""
        is_default = timeout is None and self._timeout is None
        return Attempts(self._retries, deadline(timeout, self._timeout, default), is_extended=is_default)

    def _wait_after(self, error: PruningError, attempts: Attempts) -> float:
        """Return the seconds to wait until the next attempt. Raises: `error` if there is none."""
        if self._is_closed and is_passing(error):  # closing cancels the running calls
            raise closed_error(self._name) from error
        seconds = attempts.wait_after(error)
        if seconds is None:
            raise error
        return seconds


class ProcessGuard:
    """The process in which this is made. gRPC's threads do not follow a fork: a call in the child might never end."""

    def __init__(self) -> None:
        self._process = os.getpid()

    @property
    def is_owner(self) -> bool:
        """Whether this is still that process."""
        return os.getpid() == self._process

    def check(self) -> None:
        """Refuse to go on in another process, before anything of gRPC is touched. Raises: RuntimeError."""
        if not self.is_owner:
            raise RuntimeError(
                f"this client belongs to process {self._process}, and cannot be used in {os.getpid()}, which was "
                "forked from it: make a new client here. Fork while no call runs, or start processes with the method "
                "'spawn'"
            )
