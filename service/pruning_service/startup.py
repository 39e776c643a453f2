"""What has to happen before everything else is imported. `__main__` imports it first.

SIGTERM: importing takes time, and torch seconds. The first process of a container is not ended by a signal that it does
not handle: without this, stopping a container that is still starting would take as long as its platform waits before
it kills. `__main__` replaces the handler.

BLAS: numpy reads how many threads it has when it is imported. The engine divides large products among its own threads.
Those of OpenBLAS spin while they wait for each other, which takes many times as long where cores are shared.

Threads: while others compute in Python, the event loop has the interpreter back only after a switch interval, several
times per call. 0.5 ms instead of 5 makes the 99th percentile of calls of 10 kB beside hostile callers 3 to 6 times
shorter, and calls of 268 MB no slower (medians of 8: 0.65 s and 0.66 s).

Garbage collection: imports make many objects and hardly any garbage, and collections take a tenth of the time until the
server listens. `__main__` turns it on again.
"""

import gc
import os
import signal
import sys


def _leave(_number: int, _frame: object) -> None:
    os._exit(0)  # nothing has started, and half loaded libraries must not run their clean-up


signal.signal(signal.SIGTERM, _leave)
gc.disable()
sys.setswitchinterval(0.0005)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
