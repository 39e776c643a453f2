"""A request to a store, sent again after a failure that may pass: 503, a broken connection, a body that was cut."""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from pruning_service.stores.errors import StoreUnavailableError

FIRST_PAUSE_SECONDS: Final = 0.2
"""Doubled each time: eight attempts take up to 25 s beside their own time. The library below repeats requests, too."""

_Value = TypeVar("_Value")


def retried(attempt: Callable[[], _Value], attempts: int, count_retry: Callable[[], object]) -> _Value:
    """Return what `attempt` returns; after a StoreUnavailableError it is called again, after a pause.

    Raises: what `attempt` raises otherwise, and its last StoreUnavailableError.
    """
    for number in range(1, attempts):
        try:
            return attempt()
        except StoreUnavailableError:
            count_retry()
            pause_after(number)
    return attempt()


def pause_after(failures: int) -> None:
    """Wait before the next attempt: longer the more have failed, and not as long as others who failed together."""
    time.sleep(FIRST_PAUSE_SECONDS * 2 ** (failures - 1) * random.uniform(0.5, 1))  # noqa: S311 - no secret
