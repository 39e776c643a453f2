"""How the log looks: one line an event, on stderr, `key=value` after a word. No tokens and no weights."""

import logging
import sys
import time


def configure(level: str) -> None:
    """Send this package's log to stderr from `level` up."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
