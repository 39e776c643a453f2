"""Rules, recipes, amounts and groups as values: what they print, and that they are equal, hash and pickle."""

import copy
import pickle
from typing import Any

import pytest

from pruning_client import Recipe, Rule, rules
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.recipes.test_short_rules import RULES

COUPLED = rules.group(["fc1.weight:0", "fc1.bias:0", "fc2.weight:1"])
TEXTS = [
    "l1_unstructured(0.5)",
    "l1_unstructured(100, scope='global', exclude=['classifier.*'])",
    "l1_unstructured(sparsity(0.9), include=['*.weight'], prior='zeros')",
    "l1_unstructured(0.5, block=(16, 1))",
    "ln_structured(0.5, n=1, dim=1)",
    "ln_structured(0.5, n=inf)",
    "wanda(0.5, scope='global', update='refit', swaps=True)",
    "sparsegpt(0.5)",
    "n_of_m(2, 4)",
    "n_of_m(2, 4, score='ria', dim=0)",
    "remove_units(kept(32), map='ffn', round_to=8)",
    "remove_units(0.5, groups=[group(['fc1.weight:0', tie('fc2.weight', 1, inner=16)], units=6)])",
    "keep_experts(4)",
    "keep_experts(4, score='magnitude', of='mtp')",
    "drop_layers('3,7,12-15')",
    "installed_method('stripes', arguments={'steps': 3})",
    "identity()",
]
VALUES = [*RULES.values(), COUPLED, rules.tie("w", 1, inner=2), rules.sparsity(0.5), Recipe([RULES["wanda"]], seed=1)]


def built(text: str) -> Any:
    names = {name: getattr(rules, name) for name in rules.__all__}
    return eval(text, {**names, "inf": float("inf"), "nan": float("nan")})  # noqa: S307 - texts of this file


@pytest.mark.parametrize("text", TEXTS)
def test_rule_prints_as_what_the_user_typed(text: str) -> None:
    assert repr(built(text)) == text


@pytest.mark.parametrize("method", RULES)
def test_rule_of_every_method_prints_as_a_call_that_builds_it(method: str) -> None:
    again = built(repr(RULES[method]))
    assert again.to_dict() == RULES[method].to_dict()


def test_usual_arguments_are_left_out() -> None:
    assert repr(rules.l1_unstructured(0.5, scope="local", prior="history", importance_scores=False)) == (
        "l1_unstructured(0.5)"
    )


def test_long_arguments_are_shortened() -> None:
    text = repr(rules.keep_layers(2, score={"model.layers": list(range(1000))}))
    assert len(text) < 120
    assert "..." in text


def test_rule_that_no_function_builds_prints_its_fields() -> None:
    rule = Rule.from_message(pb.Rule(score=pb.Score(magnitude=pb.Magnitude())))
    assert repr(rule) == "<Rule: {'score': {'magnitude': {}}}>"
    assert rule.method == ""


def test_recipe_prints_its_rules_and_its_seed() -> None:
    recipe = Recipe([rules.l1_unstructured(0.5), rules.random_unstructured(2)], seed=3)
    assert repr(recipe) == "Recipe([l1_unstructured(0.5), random_unstructured(2)], seed=3)"
    assert repr(Recipe(rules.identity())) == "Recipe([identity()])"


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:40])
def test_values_are_equal_hash_copy_and_pickle(value: Any) -> None:
    for again in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), copy.copy(value)):  # noqa: S301 - our own
        assert again == value
        assert hash(again) == hash(value)
    assert value.from_message(value.to_message()) == value


def test_different_rules_differ() -> None:
    assert rules.l1_unstructured(0.5) != rules.l1_unstructured(0.25)
    assert Recipe([rules.identity()]) != Recipe([rules.identity()], seed=1)
    assert len({rules.sparsity(0.5), rules.sparsity(0.5), rules.kept(1)}) == 2


@pytest.mark.parametrize(("value", "name"), [(RULES["lamp"], "serialized"), (Recipe(RULES["lamp"]), "seed")])
def test_values_cannot_be_changed(value: Any, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(value, name, 1)


def test_message_of_a_value_is_the_callers_own() -> None:
    rule = rules.l1_unstructured(0.5)
    rule.to_message().amount.fraction = 0.9
    assert rule == rules.l1_unstructured(0.5)


def test_group_says_where_its_channels_lie() -> None:
    assert [(tie.tensor, tie.dim) for tie in COUPLED.ties] == [("fc1.weight", 0), ("fc1.bias", 0), ("fc2.weight", 1)]
    assert COUPLED.units is None


@pytest.mark.parametrize("given", [None, "l1_unstructured", [RULES["lamp"], None]], ids=["nothing", "text", "some"])
def test_recipe_of_something_else_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="rules are one Rule, several in order, or a Recipe"):
        Recipe(given)


def test_recipe_shows_a_row_for_each_rule() -> None:
    recipe = Recipe([rules.l1_unstructured(0.5), rules.drop_layers("1-3")], seed=2**63)
    assert recipe.summary.title == "2 rules, seed 9223372036854775808"
    assert [row["rule"] for row in recipe.summary.rows] == ["l1_unstructured(0.5)", "drop_layers('1-3')"]
    assert "drop_layers(&#x27;1-3&#x27;)" in recipe._repr_html_()
