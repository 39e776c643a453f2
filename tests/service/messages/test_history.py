"""The history in a file's metadata speaks the contract's words."""

import json

import pytest
from google.protobuf.json_format import ParseDict

from pruning_engine.recipe import (
    ChannelGroup,
    Channels,
    ChannelSlice,
    Count,
    CustomMask,
    Dead,
    Fraction,
    Identity,
    ImportanceScores,
    Magnitude,
    Method,
    NamedNorm,
    NOfM,
    Prior,
    Random,
    Recipe,
    Rule,
    Scope,
    Selector,
    Sparsity,
    Units,
    WeightedMagnitude,
)
from pruning_proto.limits import HISTORY_BYTES, HISTORY_READ_BYTES
from pruning_proto.names import HISTORY_KEY
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.messages.history import recipe_json, with_round
from pruning_service.messages.recipe import recipe_of

TIED = ChannelGroup(
    for_each="layers.*",
    ties=(
        ChannelSlice("a", -1, offset=3, outer=2, inner=4, scored=False),
        ChannelSlice("b", indices=(4, 2), may_be_missing=True, scored=True),
    ),
    units=2,
    config={"width": 1},
)
"""A group with all its fields."""


@pytest.mark.parametrize(
    "rule",
    [
        Rule(score=Magnitude(), amount=Count(2**63)),
        Rule(score=Magnitude(float("inf")), amount=Sparsity(0.9), granularity=Channels(-1)),
        Rule(score=Magnitude(float("-inf")), amount=Fraction(0.0), granularity=Channels(0)),
        Rule(score=Magnitude(NamedNorm.NUC), amount=Fraction(1.0), granularity=Channels(2)),
        Rule(score=ImportanceScores(2.0, fall_back_to_weights=True), amount=Count(1), granularity=Channels(1)),
        Rule(score=Random(), amount=Fraction(0.3), scope=Scope.GLOBAL, prior=Prior.ZEROS),
        Rule(score=CustomMask(), select=Selector(include=("a*",), exclude=("re:b+",))),
        Rule(score=Method("mine", {"amount": 1, "part": 1.0, "name": "x", "on": True})),
        Rule(score=Identity(), select=Selector(exclude=("ä",))),
        Rule(score=Dead(), granularity=Units(map="llama_kv_groups", head_dim=2**40, same_width=True)),
        Rule(score=Random(), amount=Count(1), granularity=Units(groups=(TIED,), round_to=8)),
        Rule(score=WeightedMagnitude(), amount=Fraction(0.5)),
        Rule(score=WeightedMagnitude(0), granularity=NOfM(2, 4), prior=Prior.ZEROS),
    ],
    ids=lambda rule: type(rule.score).__name__,
)
def test_a_recipe_stands_there_as_the_contract_has_it(rule: Rule) -> None:
    recipe = Recipe((rule,), seed=2**64 - 1)
    message = ParseDict(recipe_json(recipe), pb.Recipe())

    assert recipe_of(message) == recipe


@pytest.mark.parametrize(
    ("metadata", "framework"),
    [
        pytest.param({}, "pt", id="no metadata"),
        pytest.param({"a": "b"}, "pt", id="no format"),
        pytest.param({"format": "mlx"}, "mlx", id="another format"),
    ],
)
def test_history_comes_with_a_format(metadata: dict[str, str], framework: str) -> None:
    assert with_round(metadata, Recipe((Rule(score=Identity()),)), "1")["format"] == framework


def rounds_after(recipe: Recipe, rounds: int, before: str = "[]") -> list[dict[str, object]]:
    metadata = {HISTORY_KEY: before}
    for _ in range(rounds):
        metadata = with_round(metadata, recipe, "1")
        assert len(metadata[HISTORY_KEY].encode()) <= HISTORY_BYTES
    found: list[dict[str, object]] = json.loads(metadata[HISTORY_KEY])
    return found


def test_history_keeps_the_newest_rounds_and_counts_the_others() -> None:
    recipe = Recipe((Rule(score=Identity(), select=Selector(exclude=("\N{SNOWMAN}" * 40_000,))),))
    first, *kept = rounds_after(recipe, 20)
    assert first == {"omitted_rounds": 20 - len(kept)}
    assert 0 < len(kept) < 20
    assert all(each == {"recipe": recipe_json(recipe), "version": "1"} for each in kept)


def test_recipe_that_is_too_long_is_left_out_of_the_history() -> None:
    recipe = Recipe((Rule(score=Identity(), select=Selector(exclude=("a" * HISTORY_BYTES,))),))
    (only,) = rounds_after(recipe, 1)
    assert only["version"] == "1"
    assert only["omitted_bytes"] > HISTORY_BYTES  # type: ignore[operator] # a number


def test_history_that_is_too_long_is_replaced_unread() -> None:
    first, last = rounds_after(Recipe((Rule(score=Identity()),)), 1, before="{" * (HISTORY_READ_BYTES + 1))
    assert first == {"omitted_rounds": 1}
    assert last["version"] == "1"


@pytest.mark.parametrize("first", ['{"omitted_rounds":-1}', '{"omitted_rounds":"x"}', '{"omitted_rounds":true}', "[]"])
def test_any_entries_of_a_history_are_kept(first: str) -> None:
    assert rounds_after(Recipe((Rule(score=Identity()),)), 1, before=f"[{first}]")[0] == json.loads(first)
