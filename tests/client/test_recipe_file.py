"""Recipe files: the YAML of the protobuf JSON mapping, and what is refused by its path."""

import math
from pathlib import Path

import pytest

from pruning_client import rules
from pruning_client.errors import RecipeError
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.checkpoints import written


def load(folder: Path, text: str) -> pb.Recipe:
    return rules.load_recipe(written(folder / "recipe.yaml", text.encode()))


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
    assert recipe == pb.Recipe(rules=[rule], seed=2**64 - 1)


@pytest.mark.parametrize(("word", "value"), [(".inf", math.inf), ("-.inf", -math.inf), ("Infinity", math.inf)])
def test_infinity_may_be_written_as_yaml_or_as_json_does(tmp_path: Path, word: str, value: float) -> None:
    recipe = load(tmp_path, f"rules: [{{score: {{magnitude: {{norm: {{p: {word}}}}}}}}}]")
    assert recipe.rules[0].score.magnitude.norm.p == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("rules: [{ammount: {}}]", r'no field named "ammount" at "Recipe.rules\[0\]"', id="unknown field"),
        pytest.param("rules: [{scope: GLOBAL}]", "scope", id="unknown enum value"),
        pytest.param("rules: [{amount: {fraction: half}}]", r"rules\[0\].amount.fraction", id="word for a number"),
        pytest.param("rules: [{amount: {fraction: 0.1, count: 1}}]", "oneof", id="two of one kind"),
        pytest.param("seed: -1", "seed", id="negative seed"),
        pytest.param("seed: 1\nseed: 2", "key 'seed' twice", id="key twice"),
        pytest.param("seed: 2026-01-01", "quote it", id="date"),
        pytest.param("1: 2", "names of fields are strings", id="number as a name"),
        pytest.param("- 1", "a recipe is a mapping", id="list"),
        pytest.param("", "a recipe is a mapping", id="empty"),
        pytest.param("rules: [", "not YAML", id="no YAML"),
        pytest.param("seed: !!python/object/apply:os.getpid []", "not YAML", id="code"),
        pytest.param("rules: &r [*r]", "recursion", id="a list in itself"),
    ],
)
def test_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load(tmp_path, text)
    assert "recipe.yaml" in str(caught.value)


def test_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rules.load_recipe(tmp_path / "none.yaml")
