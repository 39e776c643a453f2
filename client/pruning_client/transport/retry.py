"""Whether a call that failed is tried again, and when. Knows no network and no clock but the one it is given.

A try is the whole stream: the server keeps nothing of one that failed. Tried again is what another moment or another
server may do better: a server that is away, that has no room now, or that shuts down; and whatever was told by nobody
who knows this contract, for that came from the transport or a proxy. What the server refused stays refused, and the
call's time is one for all its tries.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Final

from grpc import StatusCode

from pruning_client.errors import PruningError

RETRIES: Final = 3
"""How often a call is tried again where nobody said."""

FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 20.0

_FINAL: Final = frozenset(
    {
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.UNAUTHENTICATED,
        StatusCode.PERMISSION_DENIED,
        StatusCode.RESOURCE_EXHAUSTED,  # without our details: a message that is too large for somebody on the way
        StatusCode.INVALID_ARGUMENT,
    }
)
"""What stays as it is, also when the transport or a proxy says it."""


def is_passing(error: PruningError) -> bool:
    """Whether the same call may end otherwise at another time, or at another server."""
    if error.code is None:  # found on this side
        return False
    if error.reason is not None:
        return error.code is StatusCode.UNAVAILABLE or error.retry_after is not None
    return error.code not in _FINAL


def check(retries: int) -> int:
    """Give a number of retries as it came. Raises: ValueError if it is no integer of 0 or more."""
    if isinstance(retries, bool) or not isinstance(retries, Integral) or retries < 0:
        raise ValueError(f"retries are 0 or more, 0 for none; got {retries!r}")
    return retries


class Attempts:
    """The tries of one call. `number` is that of the one under way, from 1.

    Units: `seconds` that all tries may take together; None for no end.
    """

    def __init__(
        self,
        retries: int,
        seconds: float | None,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.number = 1
        self._retries = retries
        self._clock = clock
        self._draw = draw
        self._end = None if seconds is None else clock() + seconds
        self._most = FIRST_WAIT_SECONDS
        self._failures: list[_Failures] = []

    @property
    def seconds_left(self) -> float | None:
        """What the try under way may take; None for no end."""
        return None if self._end is None else max(self._end - self._clock(), 0.0)

    def wait_after(self, error: PruningError) -> float | None:
        """Give the seconds to wait before the next try, which is under way from now on.

        None: this was the last one, and `error` now tells how many there were and how the others ended.
        """
        seconds = self._wait(error) if self.number <= self._retries and is_passing(error) else None
        left = self.seconds_left
        if seconds is None or (left is not None and seconds >= left):
            self._tell(error)
            return None
        self._note(str(error))
        self.number += 1
        return seconds

    def _wait(self, error: PruningError) -> float:
        """Full jitter: callers that failed together do not come back together.

        Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter.
        """
        at_least = 0.0 if error.retry_after is None else error.retry_after.total_seconds()
        most, self._most = self._most, min(2 * self._most, LONGEST_WAIT_SECONDS)
        return at_least + most * self._draw()

    def _tell(self, error: PruningError) -> None:
        error.attempts = self.number
        for failures in self._failures:
            error.add_note(str(failures))

    def _note(self, message: str) -> None:
        if self._failures and self._failures[-1].message == message:
            self._failures[-1].last = self.number
        else:
            self._failures.append(_Failures(self.number, self.number, message))


@dataclass(slots=True)
class _Failures:
    """Attempts that ended one after the other in the same way."""

    first: int
    last: int
    message: str

    def __str__(self) -> str:
        which = f"attempt {self.first}" if self.first == self.last else f"attempts {self.first} to {self.last}"
        return f"{which}: {self.message}"
