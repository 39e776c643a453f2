"""Recipe files: the YAML of the protobuf JSON mapping, and what is refused by its path."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pruning_client import Recipe, Rule, rules
from pruning_client.errors import RecipeError
from pruning_client.recipes.message_fields import SCALARS
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.tiny_files import written

OUT = Reason.AMOUNT_OUT_OF_RANGE
INVALID = Reason.INVALID_RECIPE
NORM_YES = "{magnitude: {norm: {p: yes}}}"
IDENTITY = pb.Score(identity=pb.Identity())


def load(folder: Path, text: str) -> pb.Recipe:
    return rules.load_recipe(written(folder / "recipe.yaml", text.encode())).to_message()


def test_file_says_what_the_builders_say(tmp_path: Path) -> None:
    recipe = load(
        tmp_path,
        """
        seed: 18446744073709551615
        rules:
          - score: {magnitude: {norm: {p: 1}}}
            granularity: {channels: {dim: -1}}
            scope: SCOPE_GLOBAL
            prior: PRIOR_ZEROS
            select: {include: ["*.weight"]}
            amount: {fraction: 1e-1}
        """,
    )
    rule = rules.ln_structured(0.1, n=1, dim=-1, scope="global", prior="zeros", include="*.weight")
    assert recipe == Recipe([rule], seed=2**64 - 1).to_message()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("score: {weighted_magnitude: {}}, amount: {fraction: 0.5}", rules.wanda(0.5)),
        ("score: {weighted_magnitude: {}}, amount: {count: 3}, input_dim: 0", rules.wanda(3, input_dim=0)),
        ("score: {magnitude: {}}, granularity: {n_of_m: {n: 2, m: 4}}", rules.n_of_m(2, 4)),
        (
            "score: {weightedMagnitude: {}}, granularity: {nOfM: {n: 1, m: 4}}",
            rules.n_of_m(1, 4, score="weighted_magnitude"),
        ),
    ],
    ids=["weighted magnitude", "input channels along dim 0", "n of m", "both, named as in JSON"],
)
def test_file_has_rules_with_norms_and_patterns(tmp_path: Path, text: str, rule: Rule) -> None:
    assert load(tmp_path, f"rules: [{{{text}}}]").rules[0] == rule.to_message()


@pytest.mark.parametrize(("word", "value"), [(".inf", math.inf), ("-.inf", -math.inf), ("Infinity", math.inf)])
def test_infinity_may_be_written_as_yaml_or_as_json_does(tmp_path: Path, word: str, value: float) -> None:
    recipe = load(tmp_path, f"rules: [{{score: {{magnitude: {{norm: {{p: {word}}}}}}}}}]")
    assert recipe.rules[0].score.magnitude.norm.p == value


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        pytest.param("rules: [{ammount: {}}]", "rules[0].ammount", Reason.UNSUPPORTED_FIELD, id="unknown field"),
        pytest.param("rules: [{scope: GLOBAL}]", "rules[0].scope", Reason.UNSUPPORTED_FIELD, id="unknown word"),
        pytest.param("1: 2", "1", Reason.UNSUPPORTED_FIELD, id="number as a name"),
        pytest.param("rules: [{amount: {fraction: half}}]", "rules[0].amount.fraction", OUT, id="word for a number"),
        pytest.param("rules: [{}, {amount: {fraction: yes}}]", "rules[1].amount.fraction", OUT, id="yes for a part"),
        pytest.param("rules: [{amount: {count: true}}]", "rules[0].amount.count", OUT, id="true for a count"),
        pytest.param("rules: [{amount: {count: -1}}]", "rules[0].amount.count", OUT, id="negative count"),
        pytest.param("rules: [{amount: {count: 18446744073709551616}}]", "rules[0].amount.count", OUT, id="2^64"),
        pytest.param("rules: [{amount: {count: 1.5}}]", "rules[0].amount.count", OUT, id="one and a half"),
        pytest.param("rules: [{amount: 3}]", "rules[0].amount", INVALID, id="number for a mapping"),
        pytest.param("rules: [{scope: yes}]", "rules[0].scope", INVALID, id="yes for a scope"),
        pytest.param(f"rules: [{{score: {NORM_YES}}}]", "rules[0].score.magnitude.norm.p", INVALID, id="yes for p"),
        pytest.param(
            "rules: [{granularity: {channels: {dim: no}}}]", "rules[0].granularity.channels.dim", INVALID, id="no dim"
        ),
        pytest.param(
            "rules: [{score: {importance_scores: {fall_back_to_weights: 1}}}]",
            "rules[0].score.importance_scores.fall_back_to_weights",
            INVALID,
            id="number for a flag",
        ),
        pytest.param(
            "rules: [{granularity: {n_of_m: {n: two}}}]", "rules[0].granularity.n_of_m.n", INVALID, id="word for n"
        ),
        pytest.param(
            "rules: [{granularity: {n_of_m: 2:4}}]", "rules[0].granularity.n_of_m", INVALID, id="2:4 for a mapping"
        ),
        pytest.param("rules: [{select: {include: w}}]", "rules[0].select.include", INVALID, id="text for a list"),
        pytest.param("rules: [{select: {include: [1]}}]", "rules[0].select.include[0]", INVALID, id="number for text"),
        pytest.param("rules: [{amount: {fraction: 0.1, count: 1}}]", "rules[0].amount.count", INVALID, id="two kinds"),
        pytest.param(
            "rules: [{score: {importance_scores: {fallBackToWeights: yes, fall_back_to_weights: yes}}}]",
            "rules[0].score.importance_scores.fall_back_to_weights",
            INVALID,
            id="both names of a field",
        ),
        pytest.param(
            "rules: [{score: {method: {arguments: {steps: {integer: yes}}}}}]",
            'rules[0].score.method.arguments["steps"].integer',
            INVALID,
            id="yes for an argument",
        ),
        pytest.param(
            "rules: [{score: {method: {arguments: {steps: 3}}}}]",
            'rules[0].score.method.arguments["steps"]',
            INVALID,
            id="number for an argument",
        ),
        pytest.param(
            "rules: [{score: {method: {arguments: [1]}}}]",
            "rules[0].score.method.arguments",
            INVALID,
            id="list for a map",
        ),
        pytest.param("rules: [null]", "rules[0]", INVALID, id="nothing for a rule"),
        pytest.param("rules: &r [*r]", "rules[0]", INVALID, id="a list in itself"),
        pytest.param("rules: 5", "rules", INVALID, id="number for a list"),
        pytest.param("seed: -1", "seed", INVALID, id="negative seed"),
        pytest.param("seed: yes", "seed", INVALID, id="yes for a seed"),
        pytest.param("seed: 2026-01-01", "seed", INVALID, id="date"),
    ],
)
def test_field_at_fault_is_refused_by_the_servers_path(tmp_path: Path, text: str, path: str, reason: Reason) -> None:
    with pytest.raises(RecipeError, match=r"recipe\.yaml: recipe\.") as caught:
        load(tmp_path, text)
    error = caught.value
    assert (error.metadata["field"], error.reason) == (f"recipe.{path}", reason)
    assert [violation.field for violation in error.violations] == [f"recipe.{path}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("seed: 1\nseed: 2", "key 'seed' twice", id="key twice"),
        pytest.param("- 1", "recipe: this is a mapping of rules, seed; got list", id="list"),
        pytest.param("", "this is a mapping of rules, seed; got None", id="empty"),
        pytest.param("rules: [", "not YAML", id="no YAML"),
        pytest.param("? [a]\n: 1", "not YAML", id="list as a name"),
        pytest.param("seed: !!python/object/apply:os.getpid []", "not YAML", id="code"),
    ],
)
def test_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load(tmp_path, text)
    assert "recipe.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def scalars_of(message: Any) -> Iterator[Any]:
    """Every scalar field that a message of the contract can hold, at any depth."""
    fields: Sequence[Any] = message.fields
    for field in fields:
        if field.message_type is None:
            yield field
        else:
            yield from scalars_of(field.message_type)


def test_every_scalar_that_a_recipe_can_hold_is_understood() -> None:
    types = {field.type for field in scalars_of(pb.Recipe.DESCRIPTOR) if field.enum_type is None}
    assert types == set(SCALARS)


def test_arguments_of_an_installed_method_stand_by_their_names(tmp_path: Path) -> None:
    arguments = "{scale: {number: 0.5}, steps: {integer: 3}, strict: {flag: yes}, order: {text: 'up'}}"
    (rule,) = load(tmp_path, f"rules: [{{score: {{method: {{name: stripes, arguments: {arguments}}}}}}}]").rules
    assert rule.score.method.name == "stripes"
    assert {name: value.WhichOneof("value") for name, value in rule.score.method.arguments.items()} == {
        "scale": "number",
        "steps": "integer",
        "strict": "flag",
        "order": "text",
    }


UNITS = """
        rules:
          - score: {{magnitude: {{}}}}
            granularity:
              units:
                groups:
                  - for_each: "model.layers.*.mlp"
                    ties: {ties}
                    config: {{intermediate_size: 1}}
                round_to: 8
            amount: {{fraction: 0.5}}
        """


def test_ties_may_be_written_short(tmp_path: Path) -> None:
    ties = "[gate_proj.weight:0, {tensor: up_proj.weight, indices: [0, 1], scored: no}, down_proj.weight:-1]"
    (rule,) = load(tmp_path, UNITS.format(ties=ties)).rules
    group = rules.group(
        ["gate_proj.weight:0", rules.tie("up_proj.weight", indices=[0, 1], scored=False), "down_proj.weight:-1"],
        for_each="model.layers.*.mlp",
        config={"intermediate_size": 1},
    )
    assert rule.granularity.units == pb.Units(groups=[group.to_message()], round_to=8)


@pytest.mark.parametrize(
    ("tie", "wrong"),
    [
        ("gate_proj.weight", "a tie in short is NAME:DIM, such as gate_proj.weight:0; got 'gate_proj.weight'"),
        ("5", "this is a mapping of tensor, dim, .*, or in short NAME:DIM; got 5"),
    ],
    ids=["no dim", "number"],
)
def test_tie_that_is_none_is_refused_by_its_path(tmp_path: Path, tie: str, wrong: str) -> None:
    with pytest.raises(RecipeError, match=wrong) as caught:
        load(tmp_path, UNITS.format(ties=f"[a:0, {tie}]"))
    assert caught.value.metadata["field"] == "recipe.rules[0].granularity.units.groups[0].ties[1]"


def test_map_of_numbers_holds_no_others(tmp_path: Path) -> None:
    text = UNITS.format(ties="[a:0]").replace("intermediate_size: 1", "intermediate_size: yes")
    with pytest.raises(RecipeError, match="an integer, 0 to 2\\^64 - 1; got True") as caught:
        load(tmp_path, text)
    path = 'recipe.rules[0].granularity.units.groups[0].config["intermediate_size"]'
    assert caught.value.metadata["field"] == path


def test_list_keeps_all_that_it_names(tmp_path: Path) -> None:
    (rule,) = load(tmp_path, "rules: [{select: {include: ['a.*', 'b.*'], exclude: [a.bias, b.bias]}}]").rules
    assert rule.select == pb.Selector(include=["a.*", "b.*"], exclude=["a.bias", "b.bias"])


def test_part_without_fields_is_an_empty_mapping(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"recipe\.rules\[0\]\.score\.random: this is an empty mapping, \{\}; got 5"):
        load(tmp_path, "rules: [{score: {random: 5}}]")


def test_words_of_the_contract_are_named_where_one_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="SCOPE_LOCAL, SCOPE_GLOBAL, SCOPE_OUTPUT_CHANNEL; got 'GLOBAL'"):
        load(tmp_path, "rules: [{scope: GLOBAL}]")


def test_field_left_open_is_not_set(tmp_path: Path) -> None:
    assert load(tmp_path, "rules: [{score: {identity: {}}, amount: }]").rules == [pb.Rule(score=IDENTITY)]


def test_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rules.load_recipe(tmp_path / "none.yaml")
