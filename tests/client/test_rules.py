"""Builders of rules: what torch's words become, and what is refused before it is sent."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest

from pruning_client import Rule, rules
from pruning_client.errors import RecipeError
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

RANKED = [rules.l1_unstructured, rules.random_unstructured, rules.ln_structured, rules.random_structured]
UNRANKED = [rules.identity, rules.custom_from_mask]


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        pytest.param(0.5, pb.Amount(fraction=0.5), id="float is a fraction"),
        pytest.param(1.0, pb.Amount(fraction=1.0), id="one as a float is everything"),
        pytest.param(1, pb.Amount(count=1), id="one as an int is one entry"),
        pytest.param(True, pb.Amount(count=1), id="True is 1, as in torch"),
        pytest.param(2**64 - 1, pb.Amount(count=2**64 - 1), id="largest count"),
        pytest.param(rules.sparsity(0.9), pb.Amount(sparsity=0.9), id="sparsity"),
    ],
)
def test_amount_means_what_it_means_in_torch(amount: rules.AmountLike, expected: pb.Amount) -> None:
    assert rules.l1_unstructured(amount).to_message().amount == expected


@pytest.mark.parametrize(
    ("amount", "field"),
    [
        pytest.param(1.5, "amount.fraction", id="above one"),
        pytest.param(-0.1, "amount.fraction", id="below zero"),
        pytest.param(math.nan, "amount.fraction", id="NaN"),
        pytest.param(math.inf, "amount.fraction", id="infinity"),
        pytest.param(-1, "amount.count", id="negative count"),
        pytest.param(2**64, "amount.count", id="count beyond 64 bits"),
        pytest.param("0.5", "amount.fraction", id="text"),
    ],
)
@pytest.mark.parametrize("build", RANKED)
def test_amount_out_of_range_is_refused(
    build: Callable[[rules.AmountLike], Rule], amount: rules.AmountLike, field: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        build(amount)
    assert caught.value.reason == Reason.AMOUNT_OUT_OF_RANGE
    assert caught.value.metadata["field"] == field


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_sparsity_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(RecipeError, match=r"amount\.sparsity: a sparsity is 0\.0 to 1\.0"):
        rules.sparsity(value)


@pytest.mark.parametrize("build", RANKED)
def test_scope_global_lets_all_tensors_compete(build: Callable[..., Rule]) -> None:
    assert build(0.5, scope="global").to_message().scope == pb.SCOPE_GLOBAL
    assert build(0.5).to_message().scope == pb.SCOPE_LOCAL


@pytest.mark.parametrize("build", UNRANKED)
def test_methods_that_do_not_rank_have_neither_amount_nor_scope(build: Callable[..., Rule]) -> None:
    rule = build(include=["*.weight"], prior="zeros").to_message()
    assert not rule.HasField("amount")
    assert rule.scope == pb.SCOPE_UNSPECIFIED
    assert rule.prior == pb.PRIOR_ZEROS


def test_patterns_select() -> None:
    rule = rules.l1_unstructured(0.5, include=["a.*", "re:b[0-9]+"], exclude=("a.bias",)).to_message()
    assert rule.select == pb.Selector(include=["a.*", "re:b[0-9]+"], exclude=["a.bias"])


def test_one_pattern_may_stand_without_a_list() -> None:
    assert rules.identity(include="fc.weight").to_message().select.include == ["fc.weight"]


def test_without_patterns_the_default_selection_holds() -> None:
    assert not rules.identity().to_message().HasField("select")


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        pytest.param(1, pb.Norm(p=1.0), id="int"),
        pytest.param(0.5, pb.Norm(p=0.5), id="float"),
        pytest.param(-math.inf, pb.Norm(p=-math.inf), id="minus infinity"),
        pytest.param("fro", pb.Norm(named=pb.NAMED_NORM_FRO), id="fro"),
        pytest.param("nuc", pb.Norm(named=pb.NAMED_NORM_NUC), id="nuc"),
    ],
)
def test_channels_are_ranked_by_any_norm_of_torch(norm: rules.NormLike, expected: pb.Norm) -> None:
    assert rules.ln_structured(2, n=norm).to_message().score.magnitude.norm == expected


@pytest.mark.parametrize("norm", [math.nan, "frobenius"])
def test_norm_that_does_not_exist_is_refused(norm: rules.NormLike) -> None:
    with pytest.raises(RecipeError) as caught:
        rules.ln_structured(2, n=norm)
    assert caught.value.reason == Reason.INVALID_NORM


def test_channels_fall_along_a_dim() -> None:
    assert rules.random_structured(1, dim=-1).to_message().granularity.channels.dim == -1
    assert rules.ln_structured(1).to_message().granularity.WhichOneof("kind") == "channels"


@pytest.mark.parametrize("dim", [2**31, 0.5])
def test_dim_that_is_no_dim_is_refused(dim: int) -> None:
    with pytest.raises(RecipeError, match="a dim is an integer"):
        rules.random_structured(1, dim=dim)


@pytest.mark.parametrize(("scope", "falls_back"), [("local", False), ("global", True)])
def test_missing_scores_fall_back_to_weights_in_global_scope_only(scope: rules.ScopeName, falls_back: bool) -> None:
    score = rules.l1_unstructured(0.5, scope=scope, importance_scores=True).to_message().score
    assert score.importance_scores.fall_back_to_weights is falls_back


def test_channels_of_scores_have_a_norm() -> None:
    assert rules.ln_structured(1, n=1, importance_scores=True).to_message().score.importance_scores.norm.p == 1.0


@pytest.mark.parametrize(
    ("words", "allowed"),
    [({"scope": "all"}, "'local' or 'output_channel' or 'global'"), ({"prior": "none"}, "'mask' or 'zeros'")],
    ids=["scope", "prior"],
)
def test_word_that_is_unknown_is_refused_with_those_that_are(words: dict[str, str], allowed: str) -> None:
    build: Callable[..., Rule] = rules.l1_unstructured
    with pytest.raises(RecipeError, match=allowed):
        build(0.5, **words)


def test_pattern_that_is_no_text_is_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        rules.identity(include=[1])  # type: ignore[list-item]
    assert caught.value.reason == Reason.INVALID_PATTERN


def test_pattern_that_is_half_a_character_is_refused() -> None:
    with pytest.raises(RecipeError, match="Unicode"):
        rules.identity(include="\ud800")


def test_the_arguments_of_an_installed_method_keep_their_types() -> None:
    rule = rules.installed_method(
        "mine", {"amount": 1, "part": 1.0, "on": True, "how": "x"}, include="*.weight"
    ).to_message()

    kinds = {name: argument.WhichOneof("value") for name, argument in rule.score.method.arguments.items()}
    assert rule.score.method.name == "mine"
    assert kinds == {"amount": "integer", "part": "number", "on": "flag", "how": "text"}
    assert list(rule.select.include) == ["*.weight"]


def test_wanda_takes_an_amount_of_each_output_channel() -> None:
    rule = rules.wanda(0.5, include="*.weight", exclude="head.*", prior="zeros").to_message()
    assert rule.score == pb.Score(weighted_magnitude=pb.WeightedMagnitude())
    assert (rule.amount, rule.scope, rule.prior) == (pb.Amount(fraction=0.5), pb.SCOPE_UNSPECIFIED, pb.PRIOR_ZEROS)
    assert rule.select == pb.Selector(include=["*.weight"], exclude=["head.*"])
    assert not rule.HasField("input_dim")


CALIBRATED = [rules.wanda, rules.ria, rules.sparsegpt, rules.alps]


@pytest.mark.parametrize("build", [*CALIBRATED, rules.lamp, rules.l1_unstructured])
def test_signature_spells_out_every_option(build: Callable[..., Rule]) -> None:
    keywords = inspect.signature(build).parameters
    assert {"include", "exclude", "prior", "input_dim", "swaps", "update", "min_sparsity", "max_sparsity"} < set(
        keywords
    )
    assert ("allocation" in keywords) == (build is not rules.lamp)
    assert all(each.kind is not inspect.Parameter.VAR_KEYWORD for each in keywords.values())
    assert keywords["prior"].default == "history"
    with pytest.raises(TypeError, match=rf"^{build.__name__}\(\) got an unexpected keyword argument 'swap'"):
        build(0.5, swap=True)


@pytest.mark.parametrize("build", CALIBRATED)
def test_calibrated_rule_is_of_an_amount_or_of_a_pattern(build: Callable[..., Rule]) -> None:
    assert build(n_of_m=(2, 4)).to_message().granularity == pb.Granularity(n_of_m=pb.NOfM(n=2, m=4))
    with pytest.raises(RecipeError, match="an amount or n_of_m is required"):
        build()
    with pytest.raises(RecipeError, match="n_of_m says how much is pruned"):
        build(0.5, n_of_m=(2, 4))
    with pytest.raises(RecipeError, match=r"granularity\.n_of_m: this is n and m, such as \(2, 4\); got '2:4'"):
        build(n_of_m="2:4")
    with pytest.raises(RecipeError, match=r"amount\.fraction"):
        build(1.5)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param({"swaps": True}, pb.Rule(swaps=pb.Swaps()), id="swaps"),
        pytest.param({"swaps": 7}, pb.Rule(swaps=pb.Swaps(steps=7)), id="so many swaps"),
        pytest.param({"update": "refit"}, pb.Rule(update=pb.Update(refit=pb.Refit())), id="update by name"),
        pytest.param(
            {"update": {"refit": {"steps": 9}}}, pb.Rule(update=pb.Update(refit=pb.Refit(steps=9))), id="with steps"
        ),
        pytest.param({"update": "none"}, pb.Rule(), id="no update"),
        pytest.param({"allocation": "erk"}, pb.Rule(allocation=pb.Allocation(erk=pb.ErdosRenyiKernel())), id="erk"),
        pytest.param({"max_sparsity": 0.9}, pb.Rule(bounds=pb.Bounds(max_sparsity=0.9)), id="bound"),
        pytest.param({"min_sparsity": 0}, pb.Rule(bounds=pb.Bounds(min_sparsity=0)), id="bound of 0"),
        pytest.param({"input_dim": 0}, pb.Rule(input_dim=0), id="dim 0"),
    ],
)
def test_parts_of_calibrated_rules(arguments: dict[str, Any], expected: pb.Rule) -> None:
    plain, rule = rules.wanda(0.5).to_message(), rules.wanda(0.5, **arguments).to_message()
    plain.MergeFrom(expected)
    assert rule == plain


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param({"swaps": 0}, r"swaps\.steps: this is an integer, 1 to", id="no swaps"),
        pytest.param({"update": "gptq"}, "'bias_compensation' or 'refit' or 'sparsegpt', got 'gptq'", id="update"),
        pytest.param({"update": {"refit": {"step": 9}}}, r"update\.refit\.step: there is no such field", id="field"),
        pytest.param({"allocation": "even"}, "'least_predicted_error', got 'even'", id="allocation"),
        pytest.param({"max_sparsity": 1.5}, r"bounds\.max_sparsity: a sparsity is 0\.0 to 1\.0", id="bound"),
        pytest.param({"input_dim": 2**31}, "input_dim: a dim is an integer", id="dim"),
    ],
)
def test_wrong_part_of_a_calibrated_rule_is_refused(arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(RecipeError, match=error):
        rules.wanda(0.5, **arguments)


def test_blocks_are_output_channels_by_input_channels() -> None:
    assert rules.l1_unstructured(0.5, block=(16, 1)).to_message().granularity.blocks == pb.Blocks(rows=16, columns=1)
    with pytest.raises(RecipeError, match=r"granularity\.blocks\.columns: this is an integer, 1 to"):
        rules.l1_unstructured(0.5, block=(16, 0))


def test_units_have_scores_by_statistics() -> None:
    rule = rules.remove_units(0.5, map="llama_mlp", score="obs", update="refit").to_message()
    assert rule.score == pb.Score(obs=pb.ObsScore())
    assert rule.update == pb.Update(refit=pb.Refit())
    with pytest.raises(RecipeError, match="obs takes no norm"):
        rules.remove_units(0.5, 1, map="llama_mlp", score="obs")


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("magnitude", pb.Score(magnitude=pb.Magnitude())),
        ("random", pb.Score(random=pb.RandomScore())),
        ("importance_scores", pb.Score(importance_scores=pb.ImportanceScores())),
        ("weighted_magnitude", pb.Score(weighted_magnitude=pb.WeightedMagnitude())),
        ("ria", pb.Score(ria=pb.RelativeImportance())),
        ("obs", pb.Score(obs=pb.ObsScore())),
        ("alps", pb.Score(alps=pb.Alps())),
    ],
)
def test_n_of_m_takes_any_score_of_weights(name: rules.ScoreName, score: pb.Score) -> None:
    rule = rules.n_of_m(2, 4, score=name, prior="zeros")
    granularity = pb.Granularity(n_of_m=pb.NOfM(n=2, m=4))
    assert rule.to_message() == pb.Rule(score=score, granularity=granularity, prior=pb.PRIOR_ZEROS)


def test_n_of_m_ranks_by_magnitude_by_default() -> None:
    assert rules.n_of_m(1, 2) == rules.n_of_m(1, 2, score="magnitude")


@pytest.mark.parametrize(
    ("n", "m", "field"),
    [(0, 4, "n"), (4, 4, "n"), (-1, 4, "n"), (0.5, 4, "n"), (0, 1, "m"), (2, 2**32, "m"), (2, "4", "m")],
)
def test_n_of_m_out_of_range_is_refused(n: int, m: int, field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        rules.n_of_m(n, m)
    assert caught.value.metadata["field"] == f"granularity.n_of_m.{field}"


def test_score_that_n_of_m_lacks_is_refused_with_those_it_has() -> None:
    build: Callable[..., Rule] = rules.n_of_m
    with pytest.raises(RecipeError, match="'obs' or 'alps', got 'l2'"):
        build(2, 4, score="l2")


def test_n_of_m_is_along_a_dim() -> None:
    assert rules.n_of_m(2, 4, dim=0, allow_dense=True).to_message().granularity.n_of_m == pb.NOfM(
        n=2, m=4, dim=0, allow_dense=True
    )


@pytest.mark.parametrize(
    ("arguments", "score"),
    [
        pytest.param({}, "magnitude", id="no update"),
        pytest.param({"update": "refit"}, "obs", id="refit"),
        pytest.param({"update": {"refit": {"damping": 0.1}}}, "obs", id="refit with fields"),
        pytest.param({"update": "bias_compensation"}, "activation_norm", id="bias compensation"),
        pytest.param({"update": "refit", "n": 1}, "magnitude", id="norm"),
        pytest.param({"update": "refit", "score": "magnitude"}, "magnitude", id="given"),
    ],
)
def test_score_of_channels_follows_from_the_update(arguments: dict[str, Any], score: str) -> None:
    rule = rules.remove_units(0.5, map="llama_mlp", **arguments)
    assert rule.to_message().score.WhichOneof("kind") == score


def test_auto_of_channels_needs_an_amount() -> None:
    assert rules.auto(0.5, map="bert_ffn") == rules.remove_units(0.5, map="bert_ffn")
    with pytest.raises(RecipeError, match="coupled channels need an amount"):
        rules.auto(n_of_m=(2, 4), map="bert_ffn")
