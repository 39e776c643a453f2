"""A request to a store, sent again after a failure that may pass: 503, a broken connection, a body that was cut."""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from pruning_service.stores.errors import StoreUnavailableError

ATTEMPTS: Final = 6
FIRST_PAUSE_SECONDS: Final = 0.2
"""Doubled each time, so that six attempts take up to 6 s beside their own time; the library below repeats, too."""

_Value = TypeVar("_Value")


def retried(attempt: Callable[[], _Value], count_retry: Callable[[], object]) -> _Value:
    """Return what `attempt` returns; after a StoreUnavailableError it is called again, after a pause.

    Raises: what `attempt` raises otherwise, and its last StoreUnavailableError.
    """
    for number in range(1, ATTEMPTS):
        try:
            return attempt()
        except StoreUnavailableError:
            count_retry()
            time.sleep(FIRST_PAUSE_SECONDS * 2 ** (number - 1) * random.uniform(0.5, 1))  # noqa: S311 - no secret
    return attempt()
