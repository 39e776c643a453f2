"""Heads and embeddings that a model may tie: a rule that selects only one of the two is warned about."""

import pytest

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import Fraction, Magnitude, Recipe, Rule, Selector
from pruning_engine.report import WarningKind

HEAD, EMBEDDINGS, OTHER = "lm_head.weight", "model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight"


def warned_about(*include: str, head: tuple[int, ...] = (8, 4), dtype: str = "F32") -> list[str | None]:
    """The tensors of the warnings of a plan that selects these."""
    tensors = [TensorSpec(HEAD, dtype, head), TensorSpec(EMBEDDINGS, "F32", (8, 4)), TensorSpec(OTHER, "F32", (4, 4))]
    rule = Rule(score=Magnitude(), amount=Fraction(0.5), select=Selector(include=include))
    plan = make_plan(Recipe((rule,)), tensors)
    return [each.tensor for each in plan.warnings if each.kind is WarningKind.TIED_HEAD]


@pytest.mark.parametrize("name", [HEAD, EMBEDDINGS])
def test_one_of_the_two_is_warned_about(name: str) -> None:
    assert warned_about(name, OTHER) == [name]


@pytest.mark.parametrize("include", [(HEAD, EMBEDDINGS), (OTHER,), ()], ids=["both", "neither", "default targets"])
def test_both_or_neither_is_not(include: tuple[str, ...]) -> None:
    assert warned_about(*include) == []


def test_tensors_that_cannot_be_tied_are_not() -> None:
    assert warned_about(HEAD, head=(6, 4)) == warned_about(HEAD, dtype="BF16") == []
