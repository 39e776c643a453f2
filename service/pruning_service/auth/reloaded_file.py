"""Files of secrets that are read again while the server runs: what they held when they were last valid.

Invalid new contents are logged once, and the contents before them stay in use. No message shows a secret.
"""

import logging
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from pruning_service.local_settings import SettingsError

Contents = TypeVar("Contents")

_log = logging.getLogger(__name__)


class ReloadedFile(Generic[Contents]):
    """The last valid contents of one or several files that `read` returns. From any thread.

    `name` begins the lines of the log; `describe` returns what is logged of contents; `kept` says which contents stay
    in use when new ones are invalid.

    Raises: SettingsError if the first contents are invalid.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Contents],
        *,
        describe: Callable[[Contents], str],
        kept: Callable[[Contents], str],
    ) -> None:
        self.contents = read()
        self._name = name
        self._read = read
        self._describe = describe
        self._kept = kept
        self._last_error = ""
        self._lock = threading.Lock()

    @property
    def is_stale(self) -> bool:
        """Whether the files, when last read, held something that cannot be used."""
        return bool(self._last_error)

    def reload(self) -> bool:
        """Read again; return whether the contents have changed."""
        with self._lock:
            try:
                contents = self._read()
            except SettingsError as error:
                self._log_error(str(error))
                return False
            self._last_error = ""
            if contents == self.contents:
                return False
            self.contents = contents
            _log.info("%s renewed %s", self._name, self._describe(contents))
            return True

    def _log_error(self, error: str) -> None:
        if error != self._last_error:  # once, not for each call or connection
            _log.error("%s not renewed, %s: %s", self._name, self._kept(self.contents), error)
        self._last_error = error


def warn_if_world_readable(file: Path) -> None:
    """Log a warning if others than a secret file's owner and group can read it.

    It is not refused: Kubernetes mounts secrets like this by default, and in a container there is nobody else.
    """
    if file.stat().st_mode & stat.S_IROTH:
        _log.warning("secret file=%s can be read by everybody on this machine: chmod o= it", file)
