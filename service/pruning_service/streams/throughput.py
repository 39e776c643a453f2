"""How fast a client moves bytes while the server waits for it, and when that is too slow.

A call holds memory that others wait for. Only the server's waiting counts: neither what a call waits for memory or for
the engine, nor what a client waits for the plan.
"""

from pruning_proto.reasons import Reason
from pruning_service.status import Refusal


class ThroughputCheck:
    """The pace of one direction of a call; `doing` is what the client does there: "sent" or "read".

    Units: `least` is in bytes a second, 0 for none; `window_seconds` of waiting are judged together, since a pause or a
    slow start is nobody's fault.
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
        pace = round(self._bytes / self._seconds)
        return Refusal(
            reason=Reason.CLIENT_TOO_SLOW,
            message=f"the client {self._doing} {pace:,} bytes a second over {self._seconds:.3g} s in which the server "
            f"waited for it; at least {self._least:,} are wanted (PRUNING_MIN_BYTES_PER_SECOND)",
            metadata={"bytes_per_second": str(pace), "least_bytes_per_second": str(self._least)},
        )
