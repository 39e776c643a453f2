"""Rules of a recipe file as a method with its arguments, and plain words."""

from pathlib import Path

import pytest

from pruning_client import Recipe, Rule, rules
from pruning_client.errors import RecipeError
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.tiny_files import written

GROUP = rules.group(["a:0", "b:1"], for_each="layers.*", config={"width": 2})
RULES = {
    "identity": rules.identity(include="a", exclude=["b", "re:c"]),
    "random_unstructured": rules.random_unstructured(3, scope="global", prior="zeros"),
    "l1_unstructured": rules.l1_unstructured(0.5, importance_scores=True, scope="global"),
    "random_structured": rules.random_structured(1, -1),
    "ln_structured": rules.ln_structured(rules.sparsity(0.5), "fro", 1),
    "wanda": rules.wanda(0.25, input_dim=0, swaps=True, update={"refit": {"steps": 5}}, allocation="erk"),
    "ria": rules.ria(0.5, scope="global", exponent=1.0, min_sparsity=0.1, max_sparsity=0.9, swaps=7),
    "sparsegpt": rules.sparsegpt(rules.sparsity(0.5), scope="output_channel", update="none", allocation={"owl": {}}),
    "alps": rules.alps(0.5, update={"refit": {"steps": 5}}, input_dim=1),
    "lamp": rules.lamp(0.5, update="refit", max_sparsity=0.95),
    "n_of_m": rules.n_of_m(2, 4, score="weighted_magnitude", dim=0, allow_dense=True, update="bias_compensation"),
    "custom_from_mask": rules.custom_from_mask(),
    "remove_units": rules.remove_units(0.5, float("-inf"), groups=GROUP, round_to=8, same_width=True),
    "remove_random": rules.remove_random(0.5, map="llama_heads", head_dim=64),
    "remove_dead": rules.remove_dead(groups=[GROUP, rules.group(rules.tie("c", 1, indices=[0, 2], scored=False))]),
    "keep_experts": rules.keep_experts(32, score="magnitude", scope="global", least_kept=8, balanced_blocks=4),
    "keep_experts of some layers": rules.keep_experts(8, of="mtp"),
    "drop_experts of some layers": rules.drop_experts(3, of="layers"),
    "drop_experts": rules.drop_experts({"model.layers.1.mlp": "3,7,12-15"}),
    "keep_layers": rules.keep_layers(2, score={"model.layers": [0.5, 0.25, 1.0]}),
    "drop_layers": rules.drop_layers("21-28"),
    "keep_tokens": rules.keep_tokens([0, 1, 2, 9]),
    "keep_tokens by magnitude": rules.keep_tokens(7, always_kept=[0, 1, 5]),
    "drop_tokens": rules.drop_tokens(5),
    "installed_method": rules.installed_method("stripes", {"steps": 3, "scale": 0.5, "strict": True, "way": "up"}),
}


def load(folder: Path, text: str) -> Recipe:
    return rules.load_recipe(written(folder / "recipe.yaml", text.encode()))


@pytest.mark.parametrize("method", RULES)
def test_rule_of_every_method_is_written_and_read(tmp_path: Path, method: str) -> None:
    recipe = Recipe([RULES[method]], seed=2**64 - 1)
    text = rules.dump_recipe(recipe)
    assert f"- method: {method.partition(' ')[0]}\n" in text
    assert load(tmp_path, text) == recipe


def test_bits_of_kept_units_are_written_in_full(tmp_path: Path) -> None:
    rule = rules.keep_tokens([1]).to_message()
    rule.score.listed.every_group.kept_bits = b"\x02\x80"
    recipe = Recipe([Rule.from_message(rule)])
    assert load(tmp_path, rules.dump_recipe(recipe)) == recipe


@pytest.mark.parametrize("name", ["\x85", "a\x85b", "a\n\x85b", "a\u2028b", "a\u2029", "\ufeffa", "é"])
def test_line_breaks_in_names_are_read_as_they_were_written(tmp_path: Path, name: str) -> None:
    recipe = Recipe([rules.identity(include=[name])])
    assert load(tmp_path, rules.dump_recipe(recipe)) == recipe


def test_rule_of_no_builder_is_written_in_full(tmp_path: Path) -> None:
    scores = pb.ImportanceScores(fall_back_to_weights=True)  # which builders set in global scope only
    rule = pb.Rule(score=pb.Score(importance_scores=scores), amount=pb.Amount(count=5), scope=pb.SCOPE_LOCAL)
    recipe = Recipe([Rule.from_message(rule)])
    text = rules.dump_recipe(recipe)
    assert "scope: local\n" in text
    assert load(tmp_path, text) == recipe


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param("method: l1_unstructured, amount: 0.5", rules.l1_unstructured(0.5), id="fraction"),
        pytest.param("method: keep_experts, experts: 32", rules.keep_experts(32), id="experts"),
        pytest.param("method: drop_layers, layers: 21-28", rules.drop_layers(range(21, 29)), id="layers"),
        pytest.param(
            "method: remove_units, map: experts, score: router_magnitude, amount: {kept: 8}",
            rules.remove_units(rules.kept(8), map="experts", score="router_magnitude"),
            id="units kept",
        ),
        pytest.param("method: l1_unstructured, amount: 5", rules.l1_unstructured(5), id="count"),
        pytest.param(
            "method: l1_unstructured, sparsity: 0.9", rules.l1_unstructured(rules.sparsity(0.9)), id="sparsity"
        ),
        pytest.param(
            "method: ln_structured, amount: 1, n: inf, include: '*.w'",
            rules.ln_structured(1, float("inf"), include="*.w"),
            id="norm, one pattern",
        ),
        pytest.param(
            "method: remove_units, amount: 1, groups: [{ties: [a:0]}]",
            rules.remove_units(1, groups=rules.group("a:0")),
            id="groups",
        ),
        pytest.param(
            "score: magnitude, granularity: channels, scope: local, amount: {count: 1}",
            Rule.from_message(
                pb.Rule(
                    score=pb.Score(magnitude=pb.Magnitude()),
                    granularity=pb.Granularity(channels=pb.Channels()),
                    scope=pb.SCOPE_LOCAL,
                    amount=pb.Amount(count=1),
                )
            ),
            id="plain words",
        ),
    ],
)
def test_plain_words_make_the_rule_they_name(tmp_path: Path, text: str, rule: Rule) -> None:
    assert load(tmp_path, f"rules: [{{{text}}}]").rules[0] == rule


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        pytest.param("method: l1", "method", "there is no such method: 'l1'; methods: identity, ", id="method"),
        pytest.param("method: [a]", "method", "there is no such method", id="list"),
        pytest.param("method: l1_unstructured", "amount", "l1_unstructured needs it", id="no amount"),
        pytest.param("method: l1_unstructured, amount: half", "amount.fraction", "0.0 to 1.0, got 'half'", id="word"),
        pytest.param("method: l1_unstructured, amount: yes", "amount", "not true or false; got True", id="yes"),
        pytest.param("method: l1_unstructured, amount: 1.5", "amount.fraction", "0.0 to 1.0, got 1.5", id="above 1"),
        pytest.param("method: l1_unstructured, amount: 1, dim: 0", "dim", "it takes amount, scope", id="dim of L1"),
        pytest.param("method: l1_unstructured, amount: 1, sparsity: 1", "sparsity", "only one of", id="both"),
        pytest.param("method: l1_unstructured, amount: {part: 1}", "amount.part", "no such field", id="amount's kind"),
        pytest.param(
            "method: l1_unstructured, amount: 1, scope: GLOBAL",
            "scope",
            "or 'output_channel' or",
            id="scope",
        ),
        pytest.param("method: remove_units, amount: 1, groups: [{tie: a}]", "groups[0].tie", "no such", id="group"),
        pytest.param("method: identity, include: 5", "method", "identity: ", id="number for patterns"),
    ],
)
def test_argument_at_fault_is_refused_by_its_path(tmp_path: Path, text: str, path: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, f"rules: [{{method: identity}}, {{{text}}}]")
    assert caught.value.metadata["field"] == f"recipe.rules[1].{path}"
    assert message in str(caught.value)
