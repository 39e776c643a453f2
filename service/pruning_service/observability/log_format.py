"""The format of the log: one line per event, on stderr, a word and `key=value` pairs. No tokens and no weights."""

import logging
import sys
import time
from typing import Final

GRPC_LOGGER: Final = "grpc._cython.cygrpc"
"""The logger of grpc.aio's server for errors below the handlers."""


def configure(level: str) -> None:
    """Log to stderr from `level` up."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger(GRPC_LOGGER).addFilter(_is_new)


def _is_new(record: logging.LogRecord) -> bool:
    """Whether a record of gRPC's adds something to the log.

    For a client that vanishes during a write, gRPC logs an error with a traceback (ExecuteBatchError). The call has its
    own line already, with outcome=CANCELLED.
    """
    error = record.exc_info[0] if record.exc_info else None
    return error is None or error.__name__ != "ExecuteBatchError"
