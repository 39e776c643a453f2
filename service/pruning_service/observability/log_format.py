"""How the log looks: one line an event, on stderr, `key=value` after a word. No tokens and no weights."""

import logging
import sys
import time
from typing import Final

GRPC_LOGGER: Final = "grpc._cython.cygrpc"
"""Where grpc.aio's server tells what goes wrong below the handlers."""


def configure(level: str) -> None:
    """Send this package's log to stderr from `level` up."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger(GRPC_LOGGER).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether gRPC tells something that the log lacks.

    A client that vanishes while it is written to is an error with a traceback to gRPC (ExecuteBatchError), and
    everyday life to a server: the call has its line, with outcome=CANCELLED.
    """
    error = record.exc_info[0] if record.exc_info else None
    return error is None or error.__name__ != "ExecuteBatchError"
