"""How fast a client sends or reads while the server waits for it, and when that is too slow.

A call holds memory that others wait for. Only the time that the server waits for the client counts: not the time that a
call waits for memory or the engine, nor the time that a client waits for the plan.
"""

from pruning_proto.reasons import Reason
from pruning_service.status import Refusal


class ThroughputCheck:
    """The throughput of one direction of a call; `doing` is what the client does there: "sent" or "read".

    Units: `least` is in bytes per second, 0 for no minimum; `window_seconds` of waiting are judged together, so that a
    pause or a slow start does not count.
    """

    def __init__(self, least: int, doing: str, window_seconds: float) -> None:
        self._least = least
        self._doing = doing
        self._window_seconds = window_seconds
        self._seconds = 0.0
        self._bytes = 0

    def record(self, seconds: float, moved_bytes: int) -> None:
        """Count bytes for which the server waited. Raises: Refusal CLIENT_TOO_SLOW at the end of a slow window."""
        self._seconds += seconds
        self._bytes += moved_bytes
        if self._seconds < self._window_seconds:
            return
        if self._bytes < self._least * self._seconds:
            raise self._too_slow()
        self._seconds, self._bytes = 0.0, 0

    def _too_slow(self) -> Refusal:
        speed = round(self._bytes / self._seconds)
        return Refusal(
            reason=Reason.CLIENT_TOO_SLOW,
            message=f"the client {self._doing} {speed:,} bytes a second over {self._seconds:.3g} s in which the server "
            f"waited for it; at least {self._least:,} are required (PRUNING_MIN_BYTES_PER_SECOND)",
            metadata={"bytes_per_second": str(speed), "least_bytes_per_second": str(self._least)},
        )
