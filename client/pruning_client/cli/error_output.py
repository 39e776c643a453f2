"""Errors of the command line: one line, or one JSON object; and the exit status."""

import errno
import json
from typing import Any, Final

from pruning_client.cli.arguments import UsageError
from pruning_client.cli.tables import printable
from pruning_client.errors import CheckpointError, MismatchError, PruningError, RecipeError

FAILED: Final = 1
REFUSED: Final = 2

_BAD_REQUEST: Final = (UsageError, RecipeError, CheckpointError, MismatchError)
_BAD_PATH: Final = (
    errno.ENOENT,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EINVAL,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)
"""Errors about paths where no file is or can be; EINVAL is ours, for a path that is not a regular file."""


def status(error: Exception) -> int:
    """Return the exit status: 2 for an invalid request, path or file, 1 for all other errors."""
    is_bad_path = isinstance(error, OSError) and error.errno in _BAD_PATH
    return REFUSED if is_bad_path or isinstance(error, _BAD_REQUEST) else FAILED


def as_text(error: Exception) -> str:
    """Return the line for people, and below it each wrong field or tensor, if there are several."""
    return "\n".join(printable(line) for line in _lines(error))


def _lines(error: Exception) -> list[str]:
    if not isinstance(error, PruningError):
        return [f"error: {_message(error)}"]
    reason = f" [{error.reason}]" if error.reason else ""
    lines = [f"error: {error}{reason}", *(f"  {note}" for note in _notes(error))]
    if len(error.violations) > 1:
        lines += [f"  {violation.field}" for violation in error.violations]
    if error.retry_after is not None:
        lines.append(f"  try again in {error.retry_after.total_seconds():.0f} s")
    if status(error) == FAILED and error.request_id:
        lines.append(f"  the server's log has it under request {error.request_id}")
    return lines


def as_json(error: Exception) -> str:
    """Return one JSON object with the key `error`."""
    fields: dict[str, Any] = {"type": type(error).__name__, "message": "\n".join([_message(error), *_notes(error)])}
    if isinstance(error, PruningError):
        fields["reason"] = error.reason
        fields["metadata"] = error.metadata
        fields["violations"] = [
            {"field": violation.field, "description": violation.description} for violation in error.violations
        ]
        fields["attempts"] = error.attempts
        fields["retry_after_seconds"] = None if error.retry_after is None else error.retry_after.total_seconds()
    return json.dumps({"error": fields})


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _notes(error: Exception) -> list[str]:
    return getattr(error, "__notes__", [])
