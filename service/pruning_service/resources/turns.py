"""A turn that threads hand around: of those that share one, one computes, in the order in which they asked for it."""

import threading
from collections import deque


class Turns:
    """One turn that threads hand around, in the order in which they asked for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Lock] = deque()

    @property
    def is_wanted(self) -> bool:
        """Whether a thread waits for the turn."""
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
        handed_over.acquire()  # until `release` releases it

    def pass_on(self) -> None:
        """Let all that wait already have the turn, and wait for it again."""
        self.release()
        self.take()

    def release(self) -> None:
        """Hand the turn to the thread that has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False
