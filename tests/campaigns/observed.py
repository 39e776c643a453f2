"""A server as it is seen from outside: its gauges, its memory, and when it holds nothing of anybody's any more."""

import re
import time
import urllib.request
from pathlib import Path

from tests.servers import ServerProcess

RESERVED = "pruning_reserved_bytes"
IN_FLIGHT = "pruning_requests_in_flight"
POLL_SECONDS = 0.01


def gauge(server: ServerProcess, name: str) -> float:
    """Scrape one metric that has no labels."""
    found = re.search(rf"^{name} (\S+)$", metrics_text(server), re.MULTILINE)
    assert found, f"the server has no metric {name}"
    return float(found[1])


def times_called(server: ServerProcess, method: str) -> float:
    """How many calls of an RPC have ended well."""
    series = rf'^grpc_server_handled_total\{{(?=[^}}]*grpc_code="OK")(?=[^}}]*grpc_method="{method}")[^}}]*\}} (\S+)$'
    return sum(float(value) for value in re.findall(series, metrics_text(server), re.MULTILINE))


def has_been_called(server: ServerProcess, method: str) -> bool:
    """Whether a call of an RPC has come to its end."""
    return times_called(server, method) > 0


def metrics_text(server: ServerProcess) -> str:
    """Scrape all metrics."""
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=10) as page:
        text = page.read().decode()
        assert isinstance(text, str)
        return text


def is_free(server: ServerProcess) -> bool:
    """Whether no call is under way and no byte reserved."""
    return gauge(server, IN_FLIGHT) == 0 and gauge(server, RESERVED) == 0


def seconds_until_free(server: ServerProcess, most_seconds: float = 20) -> float:
    """Wait until nothing is held; return how long that took.

    Raises: AssertionError if something is still held after `most_seconds`.
    """
    begin = time.monotonic()
    while not is_free(server):
        waited = time.monotonic() - begin
        assert waited < most_seconds, (
            f"after {waited:.1f} s {gauge(server, IN_FLIGHT):.0f} calls hold {gauge(server, RESERVED):,.0f} bytes"
        )
        time.sleep(POLL_SECONDS)
    return time.monotonic() - begin


def anonymous_bytes(process_id: int) -> int:
    """Return a process's resident anonymous memory: its heap, without the files that it has mapped."""
    status = Path(f"/proc/{process_id}/status").read_text(encoding="ascii")
    kilobytes = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    assert kilobytes
    return int(kilobytes[1]) * 1024


def threads(process_id: int) -> int:
    """Return the number of a process's threads."""
    return len(list(Path(f"/proc/{process_id}/task").iterdir()))


def descriptors(process_id: int) -> int:
    """Return the number of a process's open files and sockets."""
    return len(list(Path(f"/proc/{process_id}/fd").iterdir()))
