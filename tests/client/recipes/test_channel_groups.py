"""Builders of groups and ties, the short way to write a tie, and what is refused before it is sent."""

from collections.abc import Callable
from typing import Any

import pytest

from pruning_client import rules
from pruning_client.errors import RecipeError
from pruning_proto.v1 import pruning_pb2 as pb

MLP = ["gate_proj.weight:0", "up_proj.weight:0", "down_proj.weight:1"]


def test_ties_may_be_written_short() -> None:
    made = rules.group(MLP, for_each="model.layers.*.mlp", config={"intermediate_size": 1})
    assert made.to_message() == pb.Group(
        for_each="model.layers.*.mlp",
        ties=[
            pb.Tie(tensor="gate_proj.weight"),
            pb.Tie(tensor="up_proj.weight"),
            pb.Tie(tensor="down_proj.weight", dim=1),
        ],
        config={"intermediate_size": 1},
    )


@pytest.mark.parametrize(
    ("short", "tensor", "dim"),
    [("w:0", "w", 0), ("w:-1", "w", -1), ("kernel:0:2", "kernel:0", 2)],
    ids=["dim", "from the last", "a name with a colon"],
)
def test_what_stands_after_the_last_colon_is_the_dim(short: str, tensor: str, dim: int) -> None:
    assert rules.group(short).ties[0].to_message() == pb.Tie(tensor=tensor, dim=dim)


@pytest.mark.parametrize("short", ["w", "w:", ":0", "w:one", "w:1.0", "w:99999999999", ""])
def test_text_that_is_no_tie_is_refused_by_its_place(short: str) -> None:
    with pytest.raises(RecipeError, match="a tie in short is NAME:DIM") as caught:
        rules.group(["fc.bias:0", short])
    assert caught.value.metadata["field"] == "ties[1]"


def test_tie_says_where_its_units_lie() -> None:
    tie = rules.tie("qkv.weight", offset=8, outer=2, inner=4, scored=False, may_be_missing=True)
    assert tie.to_message() == pb.Tie(
        tensor="qkv.weight", offset=8, outer=2, inner=4, scored=False, may_be_missing=True
    )


def test_tie_leaves_open_what_is_usual() -> None:
    tie = rules.tie("fc.weight", 1).to_message()
    assert not tie.HasField("scored")
    assert (tie.offset, tie.outer, tie.inner) == (0, 0, 0)


@pytest.mark.parametrize(
    ("build", "field"),
    [
        pytest.param(lambda: rules.tie(""), "tensor", id="no name"),
        pytest.param(lambda: rules.tie("w", 0.5), "dim", id="half a dim"),  # type: ignore[arg-type]
        pytest.param(lambda: rules.tie("w", offset=-1), "offset", id="negative offset"),
        pytest.param(lambda: rules.tie("w", inner=0), "inner", id="units of nothing"),
        pytest.param(lambda: rules.tie("w", offset=True), "offset", id="a flag"),
        pytest.param(lambda: rules.tie("w", indices=[0, -1]), "indices", id="negative index"),
        pytest.param(lambda: rules.tie("w", indices=[0, 1], offset=1), "indices", id="indices from an offset"),
        pytest.param(lambda: rules.group([]), "ties", id="no ties"),
        pytest.param(lambda: rules.group([3]), "ties[0]", id="number for a tie"),  # type: ignore[list-item]
        pytest.param(lambda: rules.group("w:0", units=0), "units", id="no units"),
        pytest.param(lambda: rules.group("w:0", config={"width": 0}), 'config["width"]', id="counts for nothing"),
        pytest.param(lambda: rules.group("w:0", for_each="\ud800"), "for_each", id="half a character"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_field(build: Callable[..., Any], field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        build()
    assert caught.value.metadata["field"] == field


def test_units_are_ranked_by_a_norm_over_all_their_ties() -> None:
    group = rules.group(MLP)
    rule = rules.remove_units(0.5, 1, groups=[group], scope="global", round_to=8, same_width=True)
    assert rule.to_message() == pb.Rule(
        score=pb.Score(magnitude=pb.Magnitude(norm=pb.Norm(p=1.0))),
        granularity=pb.Granularity(units=pb.Units(groups=[group.to_message()], round_to=8, same_width=True)),
        scope=pb.SCOPE_GLOBAL,
        amount=pb.Amount(fraction=0.5),
    )


def test_a_map_stands_for_groups() -> None:
    units = rules.remove_random(1, map="llama_kv_groups", head_dim=64).to_message().granularity.units
    assert units == pb.Units(map="llama_kv_groups", head_dim=64)


def test_one_group_may_stand_without_a_list() -> None:
    assert len(rules.remove_dead(groups=rules.group("w:0")).to_message().granularity.units.groups) == 1


def test_dead_units_take_neither_amount_nor_scope() -> None:
    rule = rules.remove_dead(map="bert_ffn").to_message()
    assert rule.score.HasField("dead")
    assert not rule.HasField("amount")
    assert rule.scope == pb.SCOPE_UNSPECIFIED


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({}, "granularity.units"),
        ({"map": "bert_ffn", "round_to": 0}, "granularity.units.round_to"),
        ({"map": "bert_ffn", "round_to": 2**32}, "granularity.units.round_to"),
        ({"map": "bert_ffn", "head_dim": 0}, "granularity.units.head_dim"),
    ],
    ids=["nothing tied", "multiple of 0", "multiple beyond 32 bits", "heads of nothing"],
)
def test_units_that_make_no_sense_are_refused(words: dict[str, Any], field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        rules.remove_units(0.5, **words)
    assert caught.value.metadata["field"] == field
