"""A pattern that matches the name of no tensor is refused, with the nearest names."""

import pytest

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.planning.planner import make_plan
from pruning_engine.planning.selectors.nearest_names import nearest_names
from pruning_engine.recipe import Fraction, Magnitude, Recipe, Rule, Selector

ENCODER = "bert.encoder.layer"
NAMES = (
    "bert.embeddings.word_embeddings.weight",
    *(f"{ENCODER}.{n}.attention.self.{part}.weight" for n in range(2) for part in ("query", "key")),
    "bert.encoder.layer.0.attention.output.LayerNorm.weight",
    "classifier.weight",
    "classifier.bias",
)


def rule(*include: str, exclude: tuple[str, ...] = ()) -> Rule:
    return Rule(score=Magnitude(), amount=Fraction(0.5), select=Selector(include, exclude))


def refusal(*rules: Rule, **aliases: str) -> MismatchError:
    tensors = [TensorSpec(name, "F32", (2,) if name.endswith("bias") else (2, 2)) for name in NAMES]
    with pytest.raises(MismatchError) as caught:
        make_plan(Recipe(rules), tensors, aliases=aliases)
    return caught.value


@pytest.mark.parametrize(
    ("rules", "place"),
    [
        pytest.param([rule(exclude=("*.bias", "classifier"))], "rules[0].select.exclude[1]", id="a module"),
        pytest.param([rule("*.key.weight", "*.kye.weight")], "rules[0].select.include[1]", id="a wildcard"),
        pytest.param([rule("classifier.bias", "classifier.bais")], "rules[0].select.include[1]", id="a name in full"),
        pytest.param([rule(), rule(exclude=("re:lm_head.*",))], "rules[1].select.exclude[0]", id="a later rule"),
        pytest.param([rule("nothing", exclude=("nothing",))], "rules[0].select.include[0]", id="the first of two"),
    ],
)
def test_pattern_without_a_match_is_refused_by_path(rules: list[Rule], place: str) -> None:
    error = refusal(*rules)
    assert (error.reason, error.field) == (Reason.SELECTS_NOTHING, place)
    assert place in str(error)


def test_message_lists_the_nearest_names() -> None:
    error = refusal(rule(exclude=("classifier",)))
    assert "'classifier' matches none of the 8 parameters" in str(error)
    assert "did you mean 'classifier.weight', 'classifier.bias'?" in str(error)


def test_other_names_of_a_tied_tensor_match() -> None:
    error = refusal(rule(exclude=("head.*",)), rule("none"), **{"head.weight": NAMES[0]})
    assert error.field == "rules[1].select.include[0]"


def test_pattern_may_match_what_is_not_selected() -> None:
    specs = [TensorSpec("a.weight", "F32", (2, 2)), TensorSpec("a.bias", "F32", (2,))]
    make_plan(Recipe((rule(exclude=("*.bias",)),)), specs)


@pytest.mark.parametrize(
    ("pattern", "nearest"),
    [
        pytest.param("classifier", ["classifier.weight", "classifier.bias"], id="a module"),
        pytest.param("*.layernorm.*", [f"{ENCODER}.0.attention.output.LayerNorm.weight"], id="case"),
        pytest.param("*.kye.weight", [f"{ENCODER}.0.attention.self.key.weight"], id="a typo beside a wildcard"),
        pytest.param("*kye*", [f"{ENCODER}.0.attention.self.key.weight"], id="a typo between wildcards"),
        pytest.param("word_embeddings.weight", [NAMES[0]], id="a prefix is missing"),
        pytest.param(r"re:classifer\.\w+", ["classifier.weight", "classifier.bias"], id="a regular expression"),
        pytest.param("classifier.weigth", ["classifier.weight"], id="a typo in a name"),
        pytest.param("xyz", [], id="nothing is near"),
    ],
)
def test_nearest_names(pattern: str, nearest: list[str]) -> None:
    assert nearest_names(pattern, NAMES) == nearest


def test_long_names_and_patterns_are_not_compared() -> None:
    assert nearest_names("a." * 2000, ["a" * 5000, "b" * 100]) == []
