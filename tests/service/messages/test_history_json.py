"""What was asked stands in the metadata, round after round, and can be asked again."""

import json

import pytest

from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.recipe import (
    ChannelGroup,
    Channels,
    ChannelSlice,
    Count,
    Fraction,
    ListedUnits,
    Magnitude,
    Method,
    NOfM,
    Prior,
    Recipe,
    Rule,
    Scope,
    Selector,
    UnitList,
    Units,
    WeightedMagnitude,
)
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


def test_bytes_of_a_round_are_always_the_same() -> None:
    """A result's bytes depend on them: the order of keys, and defaults that protobuf's own mapping leaves out."""
    tie = ChannelSlice("b", dim=1, scored=False, may_be_missing=True)
    group = ChannelGroup(ties=(tie,), config={"z": 1, "a": 2})
    rules = (
        Rule(score=Method("mine", {"z": 1, "a": 0.5}), select=Selector(exclude=("ä",))),
        Rule(score=Magnitude(), amount=Fraction(0.0), granularity=Channels(0), scope=Scope.GLOBAL),
        Rule(score=Magnitude(float("inf")), amount=Count(1), granularity=Units(groups=(group,)), prior=Prior.ZEROS),
    )
    assert with_round({}, Recipe(rules, seed=2**64 - 1), "1.0")[HISTORY_KEY] == (
        '[{"recipe":{"rules":['
        '{"score":{"method":{"name":"mine","arguments":{"z":{"integer":"1"},"a":{"number":0.5}}}},'
        '"select":{"exclude":["ä"]}},'
        '{"score":{"magnitude":{}},"granularity":{"channels":{"dim":0}},"scope":"SCOPE_GLOBAL","amount":{"fraction":0.0}},'
        '{"score":{"magnitude":{"norm":{"p":"Infinity"}}},"granularity":{"units":{"groups":[{"ties":'
        '[{"tensor":"b","dim":1,"mayBeMissing":true,"scored":false}],"config":{"z":"1","a":"2"}}]}},'
        '"amount":{"count":"1"},"prior":"PRIOR_ZEROS"}],"seed":"18446744073709551615"},"version":"1.0"}]'
    )


def test_bytes_of_a_round_of_wandas_metric_and_n_of_m() -> None:
    rules = (
        Rule(score=WeightedMagnitude(), amount=Fraction(0.5)),
        Rule(score=WeightedMagnitude(0), granularity=NOfM(2, 4)),
    )
    assert with_round({}, Recipe(rules), "1.0")[HISTORY_KEY] == (
        '[{"recipe":{"rules":['
        '{"score":{"weightedMagnitude":{}},"amount":{"fraction":0.5}},'
        '{"score":{"weightedMagnitude":{"dim":0}},"granularity":{"nOfM":{"n":2,"m":4}}}]},"version":"1.0"}]'
    )


@pytest.mark.parametrize("text", ["", "{}", "no json", "[" * 100_000], ids=["empty", "object", "text", "deep"])
def test_a_history_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        with_round({HISTORY_KEY: text}, HALF, "1.0")

    assert caught.value.reason is Reason.INVALID_HISTORY


def test_groups_of_units_are_in_the_order_of_names() -> None:
    listed = ListedUnits(groups={name: UnitList(kept=(0,)) for name in ("c", "a", "d", "b")})
    units = Units(groups=(ChannelGroup(ties=(ChannelSlice("w.{unit}"),), for_each="*"),))
    metadata = with_round({}, Recipe((Rule(score=listed, granularity=units),)), "1.0")
    (entry,) = json.loads(metadata[HISTORY_KEY])
    assert list(entry["recipe"]["rules"][0]["score"]["listed"]["groups"]) == ["a", "b", "c", "d"]
