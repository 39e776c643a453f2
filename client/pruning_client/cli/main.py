"""The command line `prune`: its words, its output and its exit status.

Results go to stdout, all else to stderr: there `prune: warning:` begins a line about a result that may be unusable.

Exit status: 0 done, 1 failure, 2 the request, a path or the file is invalid, 130 interrupted, 143 terminated.
"""

import os
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Final

from pruning_client.cli import error_output
from pruning_client.cli.arguments import UsageError, help_text, parse
from pruning_client.cli.tables import terminal_width, wrapped
from pruning_client.cli.warnings_text import warnings_text
from pruning_client.errors import PruningError
from pruning_client.local import garbage

INTERRUPTED: Final = 130
TERMINATED: Final = 143


def main() -> int:
    """Run the command of this process; return the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that unfinished files are removed
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal's encoding may lack the letters of a name
    status = run(sys.argv[1:])
    garbage.keep_all()
    return status


def run(words: Sequence[str]) -> int:
    """Run one command; return the exit status."""
    if not words:
        sys.stderr.write(help_text())
        return error_output.REFUSED
    as_json = words[:1] != ["serve"] and "--json" in words  # also for words that cannot be parsed
    try:
        with garbage.importing():
            command = parse(words)
        answer = command()
        stream = sys.stderr if answer.is_beside_result else sys.stdout
        stream.write(answer.as_json() if as_json else answer.as_text(terminal_width(stream)))
        stream.flush()
        if not as_json:
            _complain(warnings_text(answer.warnings))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error_output.FAILED
    except (PruningError, OSError, UsageError, ImportError) as error:  # ImportError: an extra is not installed
        if as_json:
            sys.stderr.write(error_output.as_json(error) + "\n")
        else:
            _complain(error_output.as_text(error) + "\n")
        return error_output.status(error)
    return answer.status


def _complain(text: str) -> None:
    sys.stderr.write(wrapped(text, terminal_width(sys.stderr)))
