"""Seconds that must agree: how long the end of a call may take, on both sides of a shutdown."""

from typing import Final

FIRST_MESSAGE_SECONDS: Final = 10.0
"""How long a call of one message may take to send it: it has 4 MiB at most, and a few bytes usually."""

HEARTBEAT_SECONDS: Final = 5.0
"""The longest silence towards a client; proxies cut idle streams."""

DISCARD_SECONDS: Final = 2.0
"""How long a failed call reads on, so that its client sees why."""

RESET_SECONDS: Final = 2 * DISCARD_SECONDS
"""When the stream of a client is reset that took neither the failure nor, then, the status."""

FAILURE_GRACE_SECONDS: Final = DISCARD_SECONDS + 1.0
"""How long a call that is ended at a shutdown may take to report that to its client, who half-closes in
`DISCARD_SECONDS` or is not waited for."""
