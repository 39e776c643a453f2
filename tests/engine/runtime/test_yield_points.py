"""Pauses between pieces: long work asks its caller now and then, and what the caller raises ends it."""

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch

from pruning_engine import OutputForm, prune_state_dict
from pruning_engine.recipe import Channels, Fraction, Magnitude, Random, Recipe, Rule, Scope
from pruning_engine.runtime.threads import get_threads, in_parallel, set_threads
from pruning_engine.runtime.yield_points import PIECES, SECONDS, with_yields, yield_now, yielding
from tests.engine.rules import l1, ln, recipe

MODEL = {"a.weight": torch.randn(3000, 3000)}  # nine pieces


class EndedError(Exception):
    pass


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = get_threads()
    set_threads(2)
    yield
    set_threads(before)


def test_thread_yields_after_a_number_of_pieces() -> None:
    pauses: list[str] = []
    with yielding(lambda: pauses.append("pause")):
        assert list(with_yields(range(2 * PIECES + 1))) == list(range(2 * PIECES + 1))
    assert len(pauses) >= 3


@pytest.mark.usefixtures("two_threads")
def test_each_thread_yields_after_a_number_of_pieces() -> None:
    done: list[int] = []
    seen = []
    with yielding(lambda: seen.append(len(done))):
        assert in_parallel(done.append, range(5 * PIECES)) == [None] * 5 * PIECES
    steps = [after - before for before, after in pairwise([0, *seen])]
    assert sum(steps) == 5 * PIECES
    assert max(steps) <= 2 * PIECES


@pytest.mark.usefixtures("two_threads")
def test_thread_yields_after_each_long_piece() -> None:
    done: list[float] = []
    seen: list[int] = []

    def slow(seconds: float) -> None:
        time.sleep(seconds)
        done.append(seconds)

    with yielding(lambda: seen.append(len(done))):
        in_parallel(slow, [1.5 * SECONDS] * 4)
        for seconds in with_yields([1.5 * SECONDS] * 2):
            slow(seconds)
    # Of two threads two at a time at the most, then one after the other.
    assert max(after - before for before, after in pairwise([0, *seen])) <= 2
    assert seen[-2:] == [5, 6]


@pytest.mark.usefixtures("two_threads")
def test_no_thread_yields_while_another_computes_for_the_call() -> None:
    def nested(_: int) -> None:
        list(with_yields(range(5 * PIECES)))
        yield_now()

    pauses: list[int] = []
    with yielding(lambda: pauses.append(1)):
        in_parallel(nested, range(2))
    assert len(pauses) <= 2


def test_nobody_is_asked_outside() -> None:
    with yielding(pytest.fail):
        pass
    assert list(with_yields(range(100))) == list(range(100))


@pytest.mark.parametrize(
    "rule",
    [
        l1(),
        l1(scope=Scope.GLOBAL),
        Rule(score=Random(), amount=Fraction(0.5)),
        ln(None),
        Rule(score=Magnitude(), amount=Fraction(0.5), scope=Scope.GLOBAL, granularity=Channels(1)),
    ],
    ids=["l1", "global", "random", "channels", "channels along dim 1, global"],
)
def test_yielding_changes_no_result(rule: Rule) -> None:
    asked = Recipe(rules=(rule,), seed=3)
    plain = prune_state_dict(MODEL, asked, output=OutputForm.MASK)
    pauses: list[int] = []
    with yielding(lambda: pauses.append(1)):
        paused = prune_state_dict(MODEL, asked, output=OutputForm.MASK)

    assert len(pauses) > 2
    for name, mask in plain.state_dict.items():
        assert isinstance(mask, torch.Tensor)
        assert torch.equal(mask, paused.state_dict[name])  # type: ignore[arg-type]


def test_error_raised_while_yielding_ends_the_work() -> None:
    def end() -> None:
        raise EndedError

    with pytest.raises(EndedError), yielding(end):
        prune_state_dict(MODEL, recipe(l1()))
