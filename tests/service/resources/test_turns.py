"""Turns: the thread that has waited longest is next; one that asks again is last."""

import threading

from pruning_service.resources.turns import Turns
from tests.service.raw import wait_until


def test_turns_go_round_in_the_order_of_asking() -> None:
    turns = Turns()
    taken: list[str] = []
    turns.take()

    def work(name: str) -> None:
        for _ in range(2):
            turns.take()
            taken.append(name)
            others = min(2, 6 - len(taken))  # each asks again until its two turns are over
            assert wait_until(lambda: len(turns._waiting) == others)  # noqa: B023 - called within this turn
            turns.release()

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for waiting, thread in enumerate(threads, 1):
        thread.start()
        assert wait_until(lambda: len(turns._waiting) == waiting)  # noqa: B023 - called within this turn
    turns.release()
    for thread in threads:
        thread.join(10)

    assert "".join(taken) == "abcabc"


def test_a_turn_that_nobody_wants_can_be_taken_again() -> None:
    turns = Turns()
    for _ in range(3):
        turns.take()
        assert not turns.is_wanted
        turns.release()
