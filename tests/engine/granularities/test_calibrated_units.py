"""Coupled channels that statistics of their inputs rank, and refits of the layers that consume them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pruning_engine import CheckpointError, MismatchError, Reason, RecipeError
from pruning_engine.recipe import (
    ActivationNorm,
    BiasCompensation,
    ChannelSlice,
    Count,
    Flap,
    Fraction,
    Magnitude,
    ObsScore,
    OutputForm,
    Refit,
    Rule,
    Scope,
    Score,
    SparseGpt,
    Units,
    UnitScores,
    Update,
    WeightedMagnitude,
)
from tests.engine.calibrated import Pruned, Tensors, gram, inputs, least_squares, prune
from tests.engine.tied import group

UNITS, WIDTH = 12, 5
MLP = group("up.weight:0", "up.bias:0", "down.weight:1")
GRAM, SUMS = "down.weight:in_gram", ("down.weight:in_sum2", "down.weight:in_sum", "down.weight:in_count")


def rule(
    score: Score,
    *,
    groups: Units | None = None,
    update: Update | None = None,
    scope: Scope | None = Scope.LOCAL,
    amount: Count | Fraction = Fraction(0.5),  # noqa: B008 - frozen
) -> Rule:
    return Rule(score=score, amount=amount, granularity=groups or Units(groups=(MLP,)), scope=scope, update=update)  # type: ignore[arg-type]


def mlp(units: int = UNITS, *, seed: int = 1) -> Tensors:
    torch.manual_seed(seed)
    return {
        "up.weight": torch.randn(units, 3),
        "up.bias": torch.randn(units),
        "down.weight": torch.randn(WIDTH, units),
        "down.bias": torch.randn(WIDTH),
    }


def sums(x: torch.Tensor, name: str = "down.weight") -> Tensors:
    return {
        f"{name}:in_sum2": x.square().sum(dim=0),
        f"{name}:in_sum": x.sum(dim=0),
        f"{name}:in_count": torch.tensor(float(len(x))),
    }


def kept(found: Pruned, at: int = 0) -> list[int]:
    return list(found.report.groups[at].kept)


def largest(scores: torch.Tensor, count: int) -> list[int]:
    return sorted(scores.argsort(descending=True)[:count].tolist())


def damped(x: torch.Tensor, damping: float = 0.01) -> torch.Tensor:
    matrix = gram(x)
    return matrix + damping * matrix.diagonal().mean() * torch.eye(len(matrix))


def refitted(weight: torch.Tensor, left: list[int], matrix: torch.Tensor) -> torch.Tensor:
    """Return (W A)_:S (A_SS)^-1, the rest 0."""
    result = torch.zeros_like(weight, dtype=torch.float64)
    result[:, left] = torch.linalg.solve(matrix[left][:, left], (weight.double() @ matrix)[:, left].T).T
    return result


def greedy(weight: torch.Tensor, matrix: torch.Tensor, units: list[list[int]], gone: int) -> list[int]:
    """Return the units that are left after removing the cheapest one `gone` times, found by trying all of them."""
    left = list(range(len(units)))

    def loss(remaining: list[int]) -> float:
        lost = weight.double() - refitted(weight, [at for unit in remaining for at in units[unit]], matrix)
        return float((lost @ matrix * lost).sum())

    for _ in range(gone):
        left.remove(min(left, key=lambda unit: loss([other for other in left if other != unit])))
    return left


def test_obs_keeps_what_trying_all_keeps() -> None:
    x, model = inputs(UNITS), mlp()

    found = prune(model | {GRAM: gram(x)}, rule(ObsScore()))

    assert kept(found) == greedy(model["down.weight"], damped(x), [[unit] for unit in range(UNITS)], 6)


def test_obs_keeps_what_is_always_kept() -> None:
    x, model = inputs(UNITS), mlp()
    asked = rule(ObsScore())
    assert isinstance(asked.granularity, Units)
    left = greedy(model["down.weight"], damped(x), [[unit] for unit in range(UNITS)], 6)
    first = [unit for unit in range(UNITS) if unit not in left][:2]

    found = prune(
        model | {GRAM: gram(x)}, replace(asked, granularity=replace(asked.granularity, always_kept=tuple(first)))
    )

    assert set(first) <= set(kept(found))
    assert len(kept(found)) == len(left)


def test_obs_weighs_outputs_by_the_gradients_that_a_refit_takes() -> None:
    x, model = inputs(UNITS), mlp()
    gradients = torch.randn(40, WIDTH) * torch.tensor([5.0, 1.0, 0.1, 0.1, 0.1])
    matrix = gradients.double().T @ gradients.double()
    values, vectors = torch.linalg.eigh(matrix / matrix.diagonal().mean())
    weighted = vectors @ torch.diag((values + 0.05).sqrt()) @ vectors.T @ model["down.weight"].double()
    sent = {GRAM: gram(x), "down.weight:out_gram": matrix}

    found = prune(model | sent, rule(ObsScore(), update=Refit()))

    left = greedy(weighted, damped(x), [[unit] for unit in range(UNITS)], 6)
    assert kept(found) == left != greedy(model["down.weight"], damped(x), [[unit] for unit in range(UNITS)], 6)
    torch.testing.assert_close(
        found.tensors["down.weight"], refitted(model["down.weight"], left, damped(x)).float(), rtol=1e-4, atol=1e-5
    )


def test_obs_without_greedy_is_one_ranking() -> None:
    x, model = inputs(UNITS), mlp()
    costs = model["down.weight"].double().square().sum(dim=0) / torch.linalg.inv(damped(x)).diagonal()

    found = prune(model | {GRAM: gram(x)}, rule(ObsScore(greedy=False)))

    assert kept(found) == largest(costs, 6)
    assert found.report.tensors[0].threshold == pytest.approx(float(costs.sort().values[5]), rel=1e-4)


def test_flap_is_variance_times_squares() -> None:
    x, model = inputs(UNITS) + torch.arange(UNITS), mlp()
    metric = x.var(dim=0) * model["down.weight"].square().sum(dim=0)

    found = prune(model | sums(x), rule(Flap()))

    assert kept(found) == largest(metric, 6)


@pytest.mark.parametrize("statistic", ["in_sum2", "in_gram", "inputs"])
def test_activation_norm_is_that_of_the_inputs(statistic: str) -> None:
    x = inputs(UNITS) * torch.arange(1, UNITS + 1).flip(0)
    values = {"in_sum2": x.square().sum(dim=0), "in_gram": gram(x), "inputs": x}

    found = prune(mlp() | {f"down.weight:{statistic}": values[statistic]}, rule(ActivationNorm()))

    assert kept(found) == largest(x.norm(dim=0), 6)
    assert found.report.tensors[0].threshold == pytest.approx(float(x.norm(dim=0).sort().values[5]), rel=1e-5)


@pytest.mark.parametrize("statistic", ["in_norm", "in_sum2", "in_gram"])
def test_weighted_magnitude_is_the_sum_of_products(statistic: str) -> None:
    x, model = inputs(UNITS) * torch.arange(1, UNITS + 1).flip(0), mlp()
    values = {"in_norm": x.norm(dim=0), "in_sum2": x.square().sum(dim=0), "in_gram": gram(x)}
    products = model["down.weight"].double().abs().sum(dim=0) * x.norm(dim=0)

    found = prune(model | {f"down.weight:{statistic}": values[statistic]}, rule(WeightedMagnitude(), scope=None))

    assert kept(found) == largest(products, 6)
    assert found.report.tensors[0].threshold == pytest.approx(float(products.sort().values[5]), rel=1e-5)


def test_given_scores_decide() -> None:
    scores = torch.tensor([3, -1, 2, 0, 9, 8, 7, -4, 5, 1, 6, 4], dtype=torch.int32)

    found = prune(mlp() | {"up.weight:unit_scores": scores}, rule(UnitScores(), amount=Count(3)))

    assert kept(found) == [0, 2, 4, 5, 6, 8, 9, 10, 11]
    assert found.report.tensors[0].threshold == 0.0


@pytest.mark.parametrize("output", [OutputForm.PRUNED, OutputForm.MASKED, OutputForm.REMOVED])
def test_refit_is_least_squares_over_the_remaining_inputs(output: OutputForm) -> None:
    x, model = inputs(UNITS), mlp()

    found = prune(model | {GRAM: gram(x)}, rule(ObsScore(), update=Refit()), output=output)

    left = kept(found)
    expected = refitted(model["down.weight"], left, damped(x)).float()
    after = found.tensors["down.weight_orig" if output is OutputForm.MASKED else "down.weight"]
    if output is OutputForm.REMOVED:
        expected = expected[:, left]
        assert torch.equal(found.tensors["up.weight"], model["up.weight"][left])
    if output is OutputForm.MASKED:
        assert not found.tensors["down.weight_mask"][:, [at for at in range(UNITS) if at not in left]].any()
        after = after * found.tensors["down.weight_mask"]
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-5)


def test_report_has_both_errors_of_consumers_only() -> None:
    x, model = inputs(UNITS), mlp()

    found = prune(model | {GRAM: gram(x)}, rule(Magnitude(), update=Refit()))

    weight, after = model["down.weight"].double(), found.tensors["down.weight"].double()
    masked = torch.zeros_like(weight)
    masked[:, kept(found)] = weight[:, kept(found)]
    reports = {report.name: report for report in found.report.tensors}
    whole = (x @ weight.T).norm()
    assert reports["down.weight"].masked_error == pytest.approx(
        float((x @ (weight - masked).T).norm() / whole), rel=1e-4
    )
    assert reports["down.weight"].predicted_error == pytest.approx(
        float((x @ (weight - after).T).norm() / whole), rel=1e-4
    )
    assert reports["up.weight"].predicted_error is None
    assert not found.report.reproducible


def test_few_tokens_raise_the_damping() -> None:
    x = inputs(UNITS, tokens=24)
    count = {"down.weight:in_count": torch.tensor(24.0)}

    found = prune(mlp() | {GRAM: gram(x)} | count, rule(Magnitude(), update=Refit()))

    assert {report.name: report.damping for report in found.report.tensors}["down.weight"] == pytest.approx(0.12)


def test_earlier_zeros_of_the_consumer_stay_zero() -> None:
    x, model = inputs(UNITS), mlp()
    keep = torch.rand(WIDTH, UNITS) > 0.3
    pair = {"down.weight_orig": model.pop("down.weight"), "down.weight_mask": keep}

    found = prune(model | pair | {GRAM: gram(x)}, rule(Magnitude(), update=Refit(steps=200)))

    after, left = found.tensors["down.weight"], torch.zeros(UNITS, dtype=torch.bool)
    left[kept(found)] = True
    assert not after[~keep].any()
    expected = least_squares(pair["down.weight_orig"] * keep, keep & left, gram(x), 0.01)
    torch.testing.assert_close(after, expected.float(), rtol=1e-3, atol=1e-4)


def test_bias_takes_up_the_mean_of_pruned_channels() -> None:
    x, model = inputs(UNITS) + 3, mlp()

    found = prune(model | sums(x), rule(Flap(), update=BiasCompensation()))

    gone = [unit for unit in range(UNITS) if unit not in kept(found)]
    expected = model["down.bias"] + (model["down.weight"][:, gone].double() @ x.mean(dim=0)[gone]).float()
    torch.testing.assert_close(found.tensors["down.bias"], expected)
    assert torch.equal(found.tensors["up.bias"][kept(found)], model["up.bias"][kept(found)])


def test_heads_are_units_of_several_channels() -> None:
    heads, size = 4, 3
    x = inputs(heads * size)
    model = {"v.weight": torch.randn(heads * size, 5), "o.weight": torch.randn(5, heads * size)}
    each = Units(groups=(group(ChannelSlice("v.weight", inner=size), ChannelSlice("o.weight", dim=1, inner=size)),))

    found = prune(model | {"o.weight:in_gram": gram(x)}, rule(ObsScore(), groups=each, update=Refit()))

    places = [list(range(head * size, (head + 1) * size)) for head in range(heads)]
    assert kept(found) == greedy(model["o.weight"], damped(x), places, 2)
    left = [at for head in kept(found) for at in places[head]]
    torch.testing.assert_close(
        found.tensors["o.weight"], refitted(model["o.weight"], left, damped(x)).float(), rtol=1e-4, atol=1e-5
    )


def test_stacked_experts_add_up() -> None:
    x = [inputs(UNITS, seed=seed) * (seed + 1) for seed in range(3)]
    torch.manual_seed(2)
    model = {"experts.up": torch.randn(3, UNITS, 4), "experts.down": torch.randn(3, 4, UNITS)}
    each = Units(groups=(group("experts.up:1", "experts.down:2"),))
    grams = {"experts.down:in_gram": torch.stack(list(map(gram, x)))}

    found = prune(model | grams, rule(ObsScore(greedy=False), groups=each, update=Refit()))

    costs = sum(
        weight.double().square().sum(dim=0) / torch.linalg.inv(damped(rows)).diagonal()
        for weight, rows in zip(model["experts.down"], x, strict=True)
    )
    assert kept(found) == largest(torch.as_tensor(costs), 6)
    for weight, rows, after in zip(model["experts.down"], x, found.tensors["experts.down"], strict=True):
        torch.testing.assert_close(after, refitted(weight, kept(found), damped(rows)).float(), rtol=1e-4, atol=1e-5)


def test_channels_of_a_convolution_own_its_kernel_positions() -> None:
    x = inputs(4 * 9)
    torch.manual_seed(5)
    model = {"a.weight": torch.randn(4, 2, 3, 3), "b.weight": torch.randn(3, 4, 3, 3)}
    each = Units(groups=(group("a.weight:0", "b.weight:1"),))

    found = prune(model | {"b.weight:in_gram": gram(x)}, rule(ObsScore(), groups=each, update=Refit()))

    places = [list(range(9 * channel, 9 * channel + 9)) for channel in range(4)]
    flat = model["b.weight"].reshape(3, 36)
    assert kept(found) == greedy(flat, damped(x), places, 2)
    left = [at for channel in kept(found) for at in places[channel]]
    expected = refitted(flat, left, damped(x)).float().reshape(3, 4, 3, 3)
    torch.testing.assert_close(found.tensors["b.weight"], expected, rtol=1e-4, atol=1e-5)


def test_conv1d_stores_inputs_first() -> None:
    x, model = inputs(UNITS), mlp()
    stored = {"fc.weight": model["up.weight"].T.contiguous(), "proj.weight": model["down.weight"].T.contiguous()}
    each = Units(groups=(group("fc.weight:1", "proj.weight:0"),))

    found = prune(stored | {"proj.weight:in_gram": gram(x)}, rule(ObsScore(), groups=each, update=Refit()))

    expected = refitted(model["down.weight"], kept(found), damped(x)).float().T
    torch.testing.assert_close(found.tensors["proj.weight"], expected, rtol=1e-4, atol=1e-5)


SCORES: dict[str, Score] = {
    "obs": ObsScore(),
    "flap": Flap(),
    "activation_norm": ActivationNorm(),
    "weighted_magnitude": WeightedMagnitude(),
}


@pytest.mark.parametrize("name", SCORES)
def test_in_global_scope_the_scale_of_a_layer_does_not_matter(name: str) -> None:
    model: Tensors = {}
    for prefix, scale in (("a", 1.0), ("b", 1000.0)):
        x = inputs(UNITS, seed=4) * scale
        model |= {f"{prefix}.{key}": value for key, value in (mlp() | {GRAM: gram(x)} | sums(x)).items()}
    used = {"obs": (GRAM,), "flap": SUMS, "activation_norm": SUMS[:1], "weighted_magnitude": SUMS[:1]}[name]
    model = {key: value for key, value in model.items() if ":" not in key or key[2:] in used}
    each = Units(groups=(group("up.weight:0", "up.bias:0", "down.weight:1", for_each="*"),))

    found = prune(model, rule(SCORES[name], groups=each, scope=Scope.GLOBAL))

    assert kept(found, 0) == kept(found, 1)
    assert len(kept(found, 0)) == 6


def test_global_scope_keeps_a_unit_of_each_group() -> None:
    model: Tensors = {}
    for prefix, least in (("a", 0), ("b", 100)):
        model |= {f"{prefix}.{key}": value for key, value in mlp(4).items()}
        model[f"{prefix}.up.weight:unit_scores"] = torch.arange(4) + least
    each = Units(groups=(group("up.weight:0", "up.bias:0", "down.weight:1", for_each="*"),))

    found = prune(model, rule(UnitScores(), groups=each, scope=Scope.GLOBAL, amount=Count(5)))

    assert [kept(found, 0), kept(found, 1)] == [[3], [2, 3]]


def test_units_that_were_pruned_before_are_no_candidates() -> None:
    x, model = inputs(UNITS), mlp()
    first = rule(Magnitude(), amount=Count(4))

    found = prune(model | {GRAM: gram(x)}, first, rule(ObsScore(), amount=Count(3)))

    assert set(kept(found, 1)) < set(kept(found, 0))
    assert len(kept(found, 1)) == UNITS - 7


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_refit_is_rounded_once(dtype: torch.dtype) -> None:
    x = inputs(UNITS)
    model = {name: tensor.to(dtype) for name, tensor in mlp().items()}

    found = prune(model | {GRAM: gram(x)}, rule(ObsScore(), update=Refit()))

    exact = refitted(model["down.weight"], kept(found), damped(x))
    torch.testing.assert_close(found.tensors["down.weight"].double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-5)


@pytest.mark.parametrize(
    ("statistics", "reason", "text"),
    [
        pytest.param({}, Reason.MISSING_COMPANION, "consumes its channels", id="none"),
        pytest.param({"up.weight:in_gram": torch.eye(3)}, Reason.MISSING_COMPANION, "consumes", id="of the other"),
    ],
)
def test_missing_statistics_are_refused(statistics: Tensors, reason: Reason, text: str) -> None:
    with pytest.raises(MismatchError, match=text) as caught:
        prune(mlp() | statistics, rule(ObsScore()))
    assert caught.value.reason is reason


def test_second_consumer_without_statistics_is_refused() -> None:
    model = mlp() | {"other.weight": torch.randn(3, UNITS), GRAM: gram(inputs(UNITS))}
    each = Units(groups=(group("up.weight:0", "up.bias:0", "down.weight:1", "other.weight:1"),))

    with pytest.raises(MismatchError, match=r"other\.weight:in_gram"):
        prune(model, rule(ObsScore(), groups=each))


def test_square_consumer_needs_its_input_dim() -> None:
    model = {"up.weight": torch.randn(4, 4), "down.weight": torch.randn(4, 4), GRAM: gram(inputs(4))}
    asked = rule(ObsScore(), groups=Units(groups=(group("up.weight:0", "down.weight:1"),)))

    with pytest.raises(MismatchError) as caught:
        prune(model, asked)
    assert caught.value.reason is Reason.INPUT_DIM_UNKNOWN


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        pytest.param(torch.ones(3), Reason.SHAPE_MISMATCH, id="too few"),
        pytest.param(None, Reason.MISSING_COMPANION, id="none"),
    ],
)
def test_scores_of_units_that_do_not_fit_are_refused(scores: torch.Tensor | None, reason: Reason) -> None:
    model = mlp() if scores is None else mlp() | {"up.weight:unit_scores": scores}
    with pytest.raises(MismatchError) as caught:
        prune(model, rule(UnitScores()))
    assert caught.value.reason is reason


def test_scores_that_are_not_finite_are_refused() -> None:
    scores = torch.ones(UNITS)
    scores[5] = float("nan")
    with pytest.raises(CheckpointError, match="position 5"):
        prune(mlp() | {"up.weight:unit_scores": scores}, rule(UnitScores()))


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        pytest.param(rule(Magnitude(), update=SparseGpt()), "rules[0].update", id="sparsegpt"),
        pytest.param(rule(ObsScore(block=4)), "rules[0].score.obs.block", id="block of units"),
        pytest.param(
            Rule(score=ObsScore(greedy=True), amount=Fraction(0.5)), "rules[0].score.obs.greedy", id="greedy entries"
        ),
        pytest.param(Rule(score=Flap(), amount=Fraction(0.5)), "rules[0].granularity", id="flap of entries"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(asked: Rule, field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        prune(mlp() | {GRAM: gram(inputs(UNITS))}, asked)
    assert caught.value.field == field


def test_weights_of_a_single_row_are_refitted() -> None:
    x = inputs(UNITS)
    model = {"up.weight": torch.randn(UNITS, 2), "down.weight": torch.randn(1, UNITS), GRAM: gram(x)}
    each = Units(groups=(group("up.weight:0", "down.weight:1"),))

    found = prune(model, rule(ObsScore(), groups=each, update=Refit()))

    expected = refitted(model["down.weight"], kept(found), damped(x)).float()
    np.testing.assert_allclose(found.tensors["down.weight"], expected, rtol=1e-4, atol=1e-5)
