"""SIGTERM before the server has begun: imported first, because loading torch takes seconds. `__main__` takes it over.

The first process of a container is not ended by a signal that it does not handle: without this, stopping a container
that is only starting would take as long as its platform waits before it kills.
"""

import os
import signal


def _leave(_number: int, _frame: object) -> None:
    os._exit(0)  # nothing has begun, and libraries that are half loaded are not to clean up


signal.signal(signal.SIGTERM, _leave)
