"""A result that is pruned again: the file's history says which zeros are pruned weights."""

import json

import pytest

from pruning_proto.names import HISTORY_KEY
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.messages.history import earlier_rounds
from tests.servers import ServerProcess
from tests.service.raw import f32, file, l1, prune

WEIGHTS = f32(8, 1, 7, 2, 6, 3, 5, 4)
CONTENT = file({"a.weight": ("F32", [2, 4], WEIGHTS), "b.weight": ("F32", [1, 2], f32(0, 9)), "c": ("I8", [1], b"c")})
ONLY_A = pb.Selector(include=["a.weight"])


def again(server: ServerProcess, content: bytes, **fields: object) -> pb.Report:
    return prune(server.address, content, rules=[l1(0.5, **fields)]).report


@pytest.mark.parametrize("scope", [pb.SCOPE_LOCAL, pb.SCOPE_GLOBAL], ids=["local", "global"])
def test_each_round_prunes_half_of_what_is_left(server: ServerProcess, scope: pb.Scope) -> None:
    content, pruned = CONTENT, []
    for _ in range(3):
        outcome = prune(server.address, content, rules=[l1(0.5, select=ONLY_A, scope=scope)])
        content = outcome.data
        pruned.append((outcome.report.totals.pruned_before, outcome.report.totals.pruned))
    assert pruned == [(0, 4), (4, 6), (6, 7)]


def test_plan_names_what_an_earlier_round_pruned(server: ServerProcess) -> None:
    once = prune(server.address, CONTENT, rules=[l1(0.5, select=ONLY_A)]).data
    plan = prune(server.address, once).plan
    assert [tensor.name for tensor in plan.tensors if tensor.was_pruned] == ["a.weight"]


def test_zeros_of_other_tensors_are_weights(server: ServerProcess) -> None:
    once = prune(server.address, CONTENT, rules=[l1(0.5, select=ONLY_A)]).data
    assert [(each.name, each.pruned_before, each.pruned) for each in again(server, once).tensors] == [
        ("a.weight", 4, 6),
        ("b.weight", 0, 1),
    ]


@pytest.mark.parametrize(
    ("prior", "pruned"),
    [(pb.PRIOR_UNSPECIFIED, 6), (pb.PRIOR_HISTORY, 6), (pb.PRIOR_ZEROS, 6), (pb.PRIOR_MASK, 4)],
    ids=["default", "history", "zeros", "mask"],
)
def test_prior_says_what_counts_as_pruned(server: ServerProcess, prior: pb.Prior, pruned: int) -> None:
    once = prune(server.address, CONTENT, rules=[l1(0.5, select=ONLY_A)]).data
    assert again(server, once, prior=prior, select=ONLY_A).totals.pruned == pruned


def test_mask_knows_better_than_the_history(server: ServerProcess) -> None:
    content = file({"w": ("F32", [1, 4], f32(0, 3, 2, 1))})
    rule = l1(0.25, select=pb.Selector(include=["w"]))
    masked = prune(server.address, content, rules=[rule], output=pb.OUTPUT_FORM_MASKED).data
    twice = prune(server.address, masked, rules=[l1(0.0, select=pb.Selector(include=["w"]))])
    assert not twice.plan.tensors[0].was_pruned
    assert twice.report.totals.pruned_before == 1


def history(*recipes: object) -> dict[str, str]:
    return {HISTORY_KEY: json.dumps([{"recipe": recipe, "version": "9"} for recipe in recipes])}


RULE = {"score": {"magnitude": {}}, "amount": {"fraction": 0.5}}
MANY = [{**RULE, "select": {"include": [f"*{at}" for at in range(1001)]}}]
EXPRESSIONS = [{**RULE, "select": {"include": [f"re:{at}" for at in range(9)]}}]


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param({"rules": [{"score": {"new": {}}}]}, id="score of a newer version"),
        pytest.param({"rules": [{"score": {"magnitude": {}}, "new": 1}]}, id="field of a newer version"),
        pytest.param({"rules": 1}, id="no list"),
        pytest.param({"rules": [{"score": {"dead": {}}, "granularity": {"units": {"map": "new"}}}]}, id="unknown map"),
        pytest.param({"rules": [{"score": {"magnitude": {"norm": {"p": "x"}}}}]}, id="no number"),
        pytest.param(None, id="no recipe"),
        pytest.param({"rules": MANY}, id="too many patterns"),
        pytest.param({"rules": EXPRESSIONS}, id="too many regular expressions"),
        pytest.param({"rules": [RULE], "seed": "x" * (2 << 20)}, id="too long"),
    ],
)
def test_round_that_cannot_be_read_is_warned_about(server: ServerProcess, recipe: object) -> None:
    content = file({"a.weight": ("F32", [1, 4], f32(0, 0, 2, 1))}, history(recipe))
    outcome = prune(server.address, content)
    assert [warning.kind for warning in outcome.plan.warnings] == [pb.WARNING_KIND_HISTORY_NOT_READ]
    assert outcome.report.totals.pruned == 2
    assert outcome.report.warnings[0] == outcome.plan.warnings[0]


def test_rounds_that_can_be_read_count_beside_one_that_cannot() -> None:
    rounds = earlier_rounds(history({"rules": [RULE]}, {"rules": [{"score": {"new": {}}}]}))
    assert (len(rounds.recipes), rounds.not_read) == (1, 1)


def test_equal_rounds_count_once_for_the_limits() -> None:
    rounds = earlier_rounds(history(*[{"rules": [RULE]}] * 500))
    assert (len(rounds.recipes), rounds.not_read) == (500, 0)
