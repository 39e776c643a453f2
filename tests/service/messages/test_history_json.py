"""What was asked stands in the metadata, round after round, and can be asked again."""

import json

import pytest

from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.recipe import Fraction, Magnitude, Recipe, Rule
from pruning_proto.names import HISTORY_KEY
from pruning_service.messages.history import with_round

HALF = Recipe((Rule(score=Magnitude(), amount=Fraction(0.5)),), seed=7)


def test_a_round_is_added_and_other_keys_stay() -> None:
    once = with_round({"format": "pt"}, HALF, "1.0")
    twice = with_round(once, HALF, "1.1")

    assert twice["format"] == "pt"
    assert [entry["version"] for entry in json.loads(twice[HISTORY_KEY])] == ["1.0", "1.1"]
    assert json.loads(once[HISTORY_KEY])[0]["recipe"] == {
        "rules": [{"score": {"magnitude": {}}, "amount": {"fraction": 0.5}}],
        "seed": "7",
    }


@pytest.mark.parametrize("text", ["", "{}", "no json", "[" * 100_000], ids=["empty", "object", "text", "deep"])
def test_a_history_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        with_round({HISTORY_KEY: text}, HALF, "1.0")

    assert caught.value.reason is Reason.INVALID_HISTORY
