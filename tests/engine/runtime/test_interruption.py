"""Code that has no yield points is ended from another thread, and nothing is raised once it has ended."""

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from pruning_engine.runtime.interruption import InterruptedWorkError, Interruption, interruptible, run_foreign

WAIT_SECONDS = 60


def ended(interruption: Interruption, foreign: Callable[[], object]) -> list[object]:
    """Start foreign code in a thread; return what came of it once it has ended: a result, or the type of an error."""
    found: list[object] = []

    def work() -> None:
        try:
            with interruptible(interruption):
                found.append(run_foreign(foreign))
        except InterruptedWorkError as error:
            found.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()
    return found


def test_endless_code_is_ended() -> None:
    interruption, begun = Interruption(), threading.Event()

    def endless() -> None:
        begun.set()
        while True:
            with suppress(Exception):  # as careless code does
                sum(range(100))

    def interrupt() -> None:
        begun.wait(WAIT_SECONDS)
        interruption.interrupt()

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    assert ended(interruption, endless) == [InterruptedWorkError]
    waiting.join()


def test_code_is_not_begun_after_an_interruption() -> None:
    interruption, calls = Interruption(), list[int]()
    interruption.interrupt()
    assert ended(interruption, lambda: calls.append(1)) == [InterruptedWorkError]
    assert calls == []


def test_nothing_is_raised_after_its_end() -> None:
    interruption = Interruption()
    with interruptible(interruption):
        assert run_foreign(lambda: 3) == 3
    interruption.interrupt()
    interruption.interrupt()
    assert sum(range(1000)) == 499500


def test_interruption_in_the_last_moment_is_raised_in_the_code_or_at_its_end() -> None:
    """However the two race: the error comes once, from `run_foreign`, and the thread goes on without another."""
    for _ in range(300):
        interruption = Interruption()
        other = threading.Thread(target=interruption.interrupt)

        def foreign(other: threading.Thread = other) -> int:
            other.start()
            return 3

        found = ended(interruption, foreign)
        other.join()
        assert found in ([3], [InterruptedWorkError])


def test_errors_of_the_code_are_its_own() -> None:
    with interruptible(Interruption()), pytest.raises(ZeroDivisionError):
        run_foreign(lambda: 1 // 0)
