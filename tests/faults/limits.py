"""What the system gives a server, lowered while it runs and raised again: memory, file sizes, files, threads.

The limits are the kernel's, set from outside with prlimit(2): nothing in the server is there for tests only.
"""

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.campaigns.observed import gauge, seconds_until_free
from tests.servers import ServerProcess
from tests.service.raw import wait_until

on_linux = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of a running process are Linux's")

FREE_SECONDS = 60.0


@contextmanager
def limit(server: ServerProcess, kind: int, most: int) -> Iterator[None]:
    """Lower a limit of a running server while inside."""
    before = resource.prlimit(server.process.pid, kind)
    resource.prlimit(server.process.pid, kind, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, kind, before)


def mapped_bytes(server: ServerProcess) -> int:
    """Return the size of a server's address space, which RLIMIT_AS limits."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"^VmSize:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def check_at_rest(server: ServerProcess) -> None:
    """Check that a server holds nothing for anybody, as its metrics show, once all calls have ended."""
    assert server.process.poll() is None, "".join(server.log)
    seconds_until_free(server, FREE_SECONDS)
    for name in ("pruning_requests_waiting", "pruning_spooled_bytes"):
        assert wait_until(partial(_is_zero, server, name), FREE_SECONDS), name


def _is_zero(server: ServerProcess, name: str) -> bool:
    return gauge(server, name) == 0
