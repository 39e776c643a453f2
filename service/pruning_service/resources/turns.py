"""Whose turn it is to compute: one thread at a time, in the order in which they asked."""

import threading
from collections import deque


class Turns:
    """One turn that threads pass around."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Lock] = deque()

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for the turn."""
        return bool(self._waiting)

    def take(self) -> None:
        """Wait for the turn, behind all that wait already."""
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            handed_over = threading.Lock()
            handed_over.acquire()
            self._waiting.append(handed_over)
        handed_over.acquire()  # until `give` releases it

    def give(self) -> None:
        """Hand the turn to whoever has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False
