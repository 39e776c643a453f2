"""The dim of a weight's input channels: who says it, in which order, and what is refused."""

import pytest

from pruning_engine import PruningError, Reason
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.planning.options import PlanOptions
from pruning_engine.planning.plan import Plan
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import Fraction, Magnitude, NOfM, Recipe, Rule, Scope, Selector, WeightedMagnitude

W = "h.0.mlp.c_fc.weight"
HALF = Fraction(0.5)


def plan(rule: Rule, *tensors: TensorSpec, options: PlanOptions = PlanOptions()) -> Plan:  # noqa: B008
    return make_plan(Recipe((rule,)), tensors, options=options)


def rows(input_dim: int | None = None) -> Rule:
    """Return a rule that compares weights within output channels, so that it must know the inputs."""
    return Rule(score=Magnitude(), amount=HALF, scope=Scope.OUTPUT_CHANNEL, select=Selector((W,)), input_dim=input_dim)


def weight(*shape: int) -> TensorSpec:
    return TensorSpec(W, "F32", shape)


def refusal(rule: Rule, *tensors: TensorSpec, options: PlanOptions = PlanOptions()) -> PruningError:  # noqa: B008
    with pytest.raises(PruningError) as caught:
        plan(rule, *tensors, options=options)
    return caught.value


def dim_of(rule: Rule, *tensors: TensorSpec, options: PlanOptions = PlanOptions()) -> int | None:  # noqa: B008
    return plan(rule, *tensors, options=options).parameters[-1].input_dim


@pytest.mark.parametrize(
    ("rule", "options", "dim"),
    [
        (rows(1), PlanOptions(input_dims={W: 0}, model_type="gpt2"), 1),
        (rows(-2), PlanOptions(), 0),
        (rows(), PlanOptions(input_dims={W: -1}, model_type="gpt2"), 1),
        (rows(), PlanOptions(model_type="gpt2"), 0),
        (rows(), PlanOptions(model_type="llama"), 1),
    ],
    ids=["the rule", "from the last", "the request", "Conv1D", "Linear"],
)
def test_rule_comes_before_request_and_architecture(rule: Rule, options: PlanOptions, dim: int) -> None:
    assert dim_of(rule, weight(4, 4), options=options) == dim


@pytest.mark.parametrize("model_type", ["", "my_own_model"])
def test_unknown_input_dim_is_refused_with_both_candidates(model_type: str) -> None:
    refused = refusal(rows(), weight(4, 6), options=PlanOptions(model_type=model_type))
    assert refused.reason is Reason.INPUT_DIM_UNKNOWN
    assert (refused.path, refused.tensor) == ("recipe.rules[0].input_dim", W)
    assert "it may be dim 0 or 1" in str(refused)
    assert f'input_dims["{W}"]' in str(refused)


def test_only_dim_that_fits_the_statistics_is_the_input() -> None:
    rule = Rule(score=WeightedMagnitude(), amount=HALF, select=Selector((W,)))
    assert dim_of(rule, TensorSpec(f"{W}:in_norm", "F32", (6,)), weight(4, 6)) == 1


@pytest.mark.parametrize("suffix", ["in_norm", "in_sum2", "in_gram"])
def test_square_weights_are_refused_where_nothing_says_the_dim(suffix: str) -> None:
    rule = Rule(score=WeightedMagnitude(), amount=HALF, select=Selector((W,)))
    shape = (4, 4) if suffix == "in_gram" else (4,)
    refused = refusal(rule, TensorSpec(f"{W}:{suffix}", "F32", shape), weight(4, 4))
    assert (refused.reason, refused.path) == (Reason.INPUT_DIM_UNKNOWN, "recipe.rules[0].input_dim")


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_dim_of_the_score_is_taken_where_both_fit(dim: int) -> None:
    rule = Rule(score=WeightedMagnitude(dim), amount=HALF, select=Selector((W,)))
    assert dim_of(rule, TensorSpec(f"{W}:in_norm", "F32", (4,)), weight(4, 4)) == dim % 2


def test_statistics_that_do_not_fit_are_refused() -> None:
    rule = Rule(score=WeightedMagnitude(), amount=HALF, select=Selector((W,)), input_dim=1)
    refused = refusal(rule, TensorSpec(f"{W}:in_norm", "F32", (4,)), weight(4, 6))
    assert (refused.reason, refused.path) == (Reason.SHAPE_MISMATCH, "recipe.rules[0].input_dim")
    assert "set input_dim to 0" in str(refused)


@pytest.mark.parametrize(
    ("rule", "options", "path"),
    [
        (rows(2), PlanOptions(), "recipe.rules[0].input_dim"),
        (rows(), PlanOptions(input_dims={W: -3}), f'input_dims["{W}"]'),
    ],
    ids=["of a rule", "of the request"],
)
def test_dim_that_a_tensor_lacks_is_refused(rule: Rule, options: PlanOptions, path: str) -> None:
    refused = refusal(rule, weight(4, 6), options=options)
    assert (refused.reason, refused.path) == (Reason.DIM_OUT_OF_RANGE, path)


def test_input_dim_of_a_name_that_is_not_in_the_file_is_refused() -> None:
    refused = refusal(rows(1), weight(4, 6), options=PlanOptions(input_dims={"v": 1}))
    assert (refused.reason, refused.path) == (Reason.SELECTS_NOTHING, 'input_dims["v"]')


def test_two_rules_must_agree() -> None:
    with pytest.raises(PruningError, match="a tensor has one") as caught:
        make_plan(Recipe((rows(0), rows(1))), [weight(4, 6)])
    assert caught.value.path == "recipe.rules[1].input_dim"


def test_n_of_m_has_the_dim_where_it_is_known_and_needs_none() -> None:
    rule = Rule(score=Magnitude(), granularity=NOfM(2, 4))
    assert dim_of(rule, weight(4, 4)) is None
    assert dim_of(rule, weight(4, 4), options=PlanOptions(model_type="gpt2")) == 0


def test_rules_that_do_not_differ_by_it_have_none() -> None:
    assert dim_of(Rule(score=Magnitude(), amount=HALF), weight(4, 4), options=PlanOptions(model_type="gpt2")) is None
