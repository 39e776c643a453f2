"""Files with secrets that everybody on the machine can read: told in the log, once, when they are first read.

Not refused: what Kubernetes mounts looks like that by default, and in a container there is nobody else.
"""

import logging
import stat
from pathlib import Path

_log = logging.getLogger(__name__)


def warn_if_open(file: Path) -> None:
    """Tell if a file that holds a secret can be read by others than its owner and group."""
    if file.stat().st_mode & stat.S_IROTH:
        _log.warning("secret file=%s can be read by everybody on this machine: chmod o= it", file)
