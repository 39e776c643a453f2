"""Pauses between pieces: long work asks its caller now and then, and what the caller raises ends it."""

import pytest
import torch

from pruning_engine import OutputForm, prune_state_dict
from pruning_engine.pauses import PIECES, pausing, spells, with_pauses
from pruning_engine.recipe import Channels, Fraction, Magnitude, Random, Recipe, Rule, Scope
from tests.engine.rules import l1, ln, recipe

MODEL = {"a.weight": torch.randn(3000, 3000)}  # nine pieces


class EndedError(Exception):
    pass


def test_there_is_a_pause_after_so_many_pieces_of_each_thread() -> None:
    pauses: list[str] = []
    with pausing(lambda: pauses.append("pause")):
        assert list(with_pauses(range(2 * PIECES + 1))) == list(range(2 * PIECES + 1))
        assert [len(spell) for spell in spells(range(3 * PIECES), threads=2)] == [2 * PIECES, PIECES]
    assert len(pauses) == 3 + 2


def test_nobody_is_asked_outside() -> None:
    with pausing(pytest.fail):
        pass
    assert [len(spell) for spell in spells(range(100))] == [100]


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
def test_pauses_change_no_result(rule: Rule) -> None:
    asked = Recipe(rules=(rule,), seed=3)
    plain = prune_state_dict(MODEL, asked, output=OutputForm.MASK)
    pauses: list[int] = []
    with pausing(lambda: pauses.append(1)):
        paused = prune_state_dict(MODEL, asked, output=OutputForm.MASK)

    assert len(pauses) > 2
    for name, mask in plain.state_dict.items():
        assert isinstance(mask, torch.Tensor)
        assert torch.equal(mask, paused.state_dict[name])  # type: ignore[arg-type]


def test_what_a_pause_raises_ends_the_work() -> None:
    def end() -> None:
        raise EndedError

    with pytest.raises(EndedError), pausing(end):
        prune_state_dict(MODEL, recipe(l1()))
