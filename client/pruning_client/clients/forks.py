"""The process that a client belongs to. gRPC's threads do not follow a fork: a call in the child might never end."""

import os


class ProcessGuard:
    """The process in which this is made. It is asked before anything of gRPC is touched."""

    def __init__(self) -> None:
        self._process = os.getpid()

    @property
    def is_owner(self) -> bool:
        """Whether this is still that process."""
        return os.getpid() == self._process

    def check(self) -> None:
        """Refuse to go on in another process. Raises: RuntimeError."""
        if not self.is_owner:
            raise RuntimeError(
                f"this client belongs to process {self._process}, and is of no use in {os.getpid()}, which was forked "
                "from it: make a new client here. Fork while no call runs, or start processes with the method 'spawn'"
            )
