"""The format of the log, on stderr: one line per event, a word and `key=value` pairs, or a JSON object of the same.

No tokens and no weights.
"""

import json
import logging
import re
import sys
import time
from typing import Any, Final, Literal, TypeAlias

LogFormat: TypeAlias = Literal["text", "json"]

GRPC_LOGGER: Final = "grpc._cython.cygrpc"
"""The logger of grpc.aio's server for errors below the handlers."""

_DATE: Final = "%Y-%m-%dT%H:%M:%S"

_PLACEHOLDER: Final = re.compile(r"(?:(\w+)=)?%[-+ #0-9.]*[a-z]")
"""A value in the text of an event, and its key if it has one."""


def configure(level: str, form: LogFormat = "text") -> None:
    """Log to stderr from `level` up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger(GRPC_LOGGER).addFilter(_is_new)


class _TextFormatter(logging.Formatter):
    """The time in UTC, the level, the event and its pairs."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s", _DATE)
        self.converter = time.gmtime


class _JsonFormatter(logging.Formatter):
    """A JSON object in one line: `time`, `level`, `logger`, `message`, the pairs of the event, and `exception`.

    Numbers of the event are numbers there. A key of these that an event has, too, is the event's in `message` only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        fields: dict[str, Any] = {
            "time": f"{self.formatTime(record, _DATE)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        pairs = _pairs(record)
        if record.exc_info:
            pairs["exception"] = self.formatException(record.exc_info)
        return json.dumps({**pairs, **fields}, default=str)


def _pairs(record: logging.LogRecord) -> dict[str, Any]:
    """Return what an event says as `key=value`; numbers as they were given."""
    if not isinstance(record.args, tuple):
        return {}
    keys = (found[1] for found in _PLACEHOLDER.finditer(str(record.msg)))
    return {key: value for key, value in zip(keys, record.args, strict=False) if key is not None}


def _is_new(record: logging.LogRecord) -> bool:
    """Whether a record of gRPC's adds something to the log.

    For a client that vanishes during a write, gRPC logs an error with a traceback (ExecuteBatchError). The call has its
    own line already, with outcome=CANCELLED.
    """
    error = record.exc_info[0] if record.exc_info else None
    return error is None or error.__name__ != "ExecuteBatchError"
