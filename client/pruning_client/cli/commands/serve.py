"""`prune serve`: become the server. Its options are the server's own."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from pruning_client.local.client import check_server_installed


def run(words: Sequence[str]) -> NoReturn:
    """Replace this process by the server. Raises: UnavailableError if it is not installed."""
    check_server_installed()
    # -P: without it, Python imports from the current folder first, which may be a downloaded model's.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "pruning_service", *words])  # noqa: S606 - no shell
