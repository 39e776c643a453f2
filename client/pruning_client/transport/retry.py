"""Whether a failed call is tried again, and when; and how long a call may take. Knows no network.

A try is the whole stream: the server keeps nothing of one that failed. Retried is what another moment or another
server may do better: a server that is away, has no memory free now, or shuts down; and every status without a reason of
this contract, because it comes from the transport or a proxy. A refusal by the server stays refused. All tries of a
call share one timeout.
"""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Final, TypeVar

from pruning_client.errors import PruningError
from pruning_proto.reasons import StatusCode

RETRIES: Final = 3
"""How often a call is tried again by default."""

FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 20.0

STALLED_SECONDS: Final = 30.0
"""How long nothing may happen in a call beyond the default limit: a server sends something every 5 s."""

LONGEST_SECONDS: Final = 10 * 365 * 24 * 3600.0
"""gRPC's clock overflows some time beyond; a longer timeout would have passed before the call began."""

ProgressT = TypeVar("ProgressT")

_FINAL: Final = frozenset(
    {
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.UNAUTHENTICATED,
        StatusCode.PERMISSION_DENIED,
        StatusCode.RESOURCE_EXHAUSTED,  # without our details: a message that is too large for a proxy
        StatusCode.INVALID_ARGUMENT,
    }
)
"""Never retried, also when the transport or a proxy reports them."""


def is_passing(error: PruningError) -> bool:
    """Whether the same call may succeed at another time, or at another server."""
    if error.status is None:  # found on this side
        return False
    if error.reason is not None:
        return error.status is StatusCode.UNAVAILABLE or error.retry_after is not None
    return error.status not in _FINAL


def check_retries(retries: int) -> int:
    """Return a number of retries unchanged. Raises: ValueError if it is not an integer of 0 or more."""
    if isinstance(retries, bool) or not isinstance(retries, Integral) or retries < 0:
        raise ValueError(f"retries are 0 or more, 0 for none; got {retries!r}")
    return retries


def check_timeout(timeout: float) -> float:
    """Return a timeout unchanged. Raises: ValueError if it is not a number above 0."""
    if isinstance(timeout, bool) or not isinstance(timeout, Real) or not timeout > 0:  # NaN is not above 0 either
        raise ValueError(f"a timeout is more than 0 seconds, inf for none; got {timeout!r}")
    return timeout


def deadline(timeout: float | None, of_client: float | None, default: float) -> float | None:
    """Return the seconds of a call: its own, else its client's, else the default. None: no limit.

    Raises: ValueError if the call's own is not a number above 0.
    """
    if timeout is not None:
        check_timeout(timeout)
    seconds = next(value for value in (timeout, of_client, default) if value is not None)
    return None if math.isinf(seconds) else min(float(seconds), LONGEST_SECONDS)


class Attempts:
    """The tries of one call. `number` is that of the current one, from 1.

    `is_extended`: the limit is the default one and moves: it ends calls in which nothing happens, not slow ones.
    Units: `seconds` is what all tries may take together; None for no limit.
    """

    def __init__(
        self,
        retries: int,
        seconds: float | None,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
        *,
        is_extended: bool = False,
    ) -> None:
        self.number = 1
        self.is_extended = is_extended and seconds is not None
        self._stalled_seconds = min(seconds or 0.0, STALLED_SECONDS)
        self._retries = retries
        self._clock = clock
        self._draw = draw
        self._end = None if seconds is None else clock() + seconds
        self._longest_wait = FIRST_WAIT_SECONDS
        self._failures: list[_Failures] = []

    @property
    def seconds_left(self) -> float | None:
        """What the current try may take; None for no limit."""
        return None if self._end is None else max(self._end - self._clock(), 0.0)

    @property
    def deadline(self) -> float | None:
        """What gRPC is to allow the current try; None for no limit, or one that moves, which gRPC does not know."""
        return None if self.is_extended else self.seconds_left

    def noting(self, watcher: Callable[[ProgressT], object] | None) -> Callable[[ProgressT], object] | None:
        """Return a watcher of progress that also moves the limit, if this one moves."""
        if not self.is_extended:
            return watcher

        def note(progress: ProgressT) -> None:
            self._end = max(self._end or 0.0, self._clock() + self._stalled_seconds)
            if watcher is not None:
                watcher(progress)

        return note

    def wait_after(self, error: PruningError) -> float | None:
        """Return the seconds to wait before the next try, which is the current one from now on.

        None: this was the last one, and `error` now says how many there were and how the others ended.
        """
        seconds = self._wait(error) if self.number <= self._retries and is_passing(error) else None
        left = self.seconds_left
        if seconds is None or (left is not None and seconds >= left):
            self._annotate(error)
            return None
        self._record(str(error))
        self.number += 1
        return seconds

    def _wait(self, error: PruningError) -> float:
        """Full jitter: callers that failed together do not come back together.

        Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter.
        """
        at_least = 0.0 if error.retry_after is None else error.retry_after.total_seconds()
        longest, self._longest_wait = self._longest_wait, min(2 * self._longest_wait, LONGEST_WAIT_SECONDS)
        return at_least + longest * self._draw()

    def _annotate(self, error: PruningError) -> None:
        error.attempts = self.number
        for failures in self._failures:
            error.add_note(str(failures))

    def _record(self, message: str) -> None:
        if self._failures and self._failures[-1].message == message:
            self._failures[-1].last = self.number
        else:
            self._failures.append(_Failures(self.number, self.number, message))


@dataclass(slots=True)
class _Failures:
    """Consecutive attempts that ended in the same way."""

    first: int
    last: int
    message: str

    def __str__(self) -> str:
        which = f"attempt {self.first}" if self.first == self.last else f"attempts {self.first} to {self.last}"
        return f"{which}: {self.message}"
