"""How long a call may take: what a caller says, made what gRPC takes."""

import math
from numbers import Real
from typing import Final

LONGEST_SECONDS: Final = 10 * 365 * 24 * 3600.0
"""gRPC's clock overflows some time beyond; a longer timeout would have passed before the call began."""


def check(timeout: float) -> float:
    """Give a timeout as it came. Raises: ValueError if it is no number above 0."""
    if isinstance(timeout, bool) or not isinstance(timeout, Real) or not timeout > 0:  # NaN is not above 0 either
        raise ValueError(f"a timeout is more than 0 seconds, inf for none; got {timeout!r}")
    return timeout


def deadline(timeout: float | None, of_client: float | None, default: float) -> float | None:
    """Give the seconds of a call: its own, else its client's, else the default. None: as long as it takes.

    Raises: ValueError if the call's own makes no sense.
    """
    if timeout is not None:
        check(timeout)
    seconds = next(each for each in (timeout, of_client, default) if each is not None)
    return None if math.isinf(seconds) else min(float(seconds), LONGEST_SECONDS)
