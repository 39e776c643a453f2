"""SIGTERM before the server has started: imported first, because importing the rest takes time, and torch seconds.

`__main__` replaces the handler. The first process of a container is not ended by a signal that it does not handle:
without this, stopping a container that is still starting would take as long as its platform waits before it kills.
"""

import os
import signal


def _leave(_number: int, _frame: object) -> None:
    os._exit(0)  # nothing has started, and half loaded libraries must not run their clean-up


signal.signal(signal.SIGTERM, _leave)
