"""Updates of layers that store their weights otherwise than Linear, and of FP8 weights with a scale."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from pruning_engine import MismatchError
from pruning_engine.recipe import Fraction, Magnitude, NOfM, ObsScore, Refit, Rule, Selector, SparseGpt, Swaps
from tests.engine import calibrated
from tests.engine.calibrated import Tensors, gram, inputs, prune
from tests.engine.packed import pack

torch.manual_seed(5)
CONV = torch.randn(6, 3, 2, 2, dtype=torch.float64)
LINEAR = torch.randn(6, 8, dtype=torch.float64)
EXPERTS = torch.randn(3, 6, 8, dtype=torch.float64)
X = inputs(8)
CONV_X = inputs(12)
EXPERT_X = [inputs(8, seed=seed) for seed in range(3)]
EXPERT_GRAMS = torch.stack([gram(rows) for rows in EXPERT_X])
REFIT = Refit(steps=300)

LAYERS: dict[str, tuple[Tensors, int]] = {
    "linear": ({"fc.weight": LINEAR, "fc.weight:in_gram": gram(X)}, 1),
    "conv": ({"conv.weight": CONV, "conv.weight:in_gram": gram(CONV_X)}, 1),
    "conv1d of gpt-2": ({"c_fc.weight": LINEAR.T.contiguous(), "c_fc.weight:in_gram": gram(X)}, 0),
    "experts, outputs first": ({"mlp.experts.up_proj": EXPERTS, "mlp.experts.up_proj:in_gram": EXPERT_GRAMS}, 2),
    "experts, inputs first": (
        {
            "mlp.experts.up_proj": EXPERTS.transpose(1, 2).contiguous(),
            "mlp.experts.up_proj:in_gram": EXPERT_GRAMS,
        },
        1,
    ),
}
GRAMS = {
    "linear": gram(X)[None],
    "conv": gram(CONV_X)[None],
    "conv1d of gpt-2": gram(X)[None],
    "experts, outputs first": EXPERT_GRAMS,
    "experts, inputs first": EXPERT_GRAMS,
}
layers = pytest.mark.parametrize("layer", LAYERS)


def matrices(layer: str, weight: torch.Tensor) -> torch.Tensor:
    """Return a weight as (E, R, C)."""
    if layer.endswith("inputs first"):
        return weight.transpose(1, 2)
    if layer == "conv1d of gpt-2":
        return weight.T[None]
    return weight if layer.startswith("experts") else weight.reshape(1, 6, -1)


def pruned(layer: str, rule: Rule) -> tuple[torch.Tensor, torch.Tensor, calibrated.Pruned]:
    """Return the matrices before and after a rule, and the result."""
    tensors, _ = LAYERS[layer]
    name = next(iter(tensors))
    found = prune(tensors, rule)
    return matrices(layer, tensors[name]), matrices(layer, found.tensors[name]), found


@layers
def test_refit_is_least_squares(layer: str) -> None:
    rule = Rule(score=Magnitude(), amount=Fraction(0.5), input_dim=LAYERS[layer][1], update=REFIT)
    before, after, _ = pruned(layer, rule)
    for own, new, matrix in zip(before, after, GRAMS[layer], strict=True):
        exact = calibrated.least_squares(own, new != 0, matrix, 0.001)
        torch.testing.assert_close(new, exact, rtol=1e-3, atol=1e-3)


@layers
def test_obs_prunes_exactly_half(layer: str) -> None:
    rule = Rule(score=ObsScore(), amount=Fraction(0.5), input_dim=LAYERS[layer][1], update=SparseGpt())
    before, after, found = pruned(layer, rule)
    assert int((after == 0).sum()) == before.numel() // 2 == found.report.pruned
    for own, new, matrix in zip(before, after, GRAMS[layer], strict=True):
        exact = calibrated.eliminated(own, new != 0, matrix, 0.01)
        torch.testing.assert_close(new, exact, rtol=1e-7, atol=1e-9)


@layers
def test_predicted_error_is_that_of_all_matrices(layer: str) -> None:
    rule = Rule(score=Magnitude(), amount=Fraction(0.5), input_dim=LAYERS[layer][1], swaps=Swaps())
    before, after, found = pruned(layer, rule)
    lost, energy = (
        sum(float((own @ matrix * own).sum()) for own, matrix in zip(weights, GRAMS[layer], strict=True))
        for weights in (before - after, before)
    )
    assert found.report.tensors[0].predicted_error == pytest.approx((lost / energy) ** 0.5, rel=1e-9)


@layers
def test_swaps_keep_the_count_of_each_output(layer: str) -> None:
    plain = Rule(score=Magnitude(), amount=Fraction(0.5))
    tensors, dim = LAYERS[layer]
    name = next(iter(tensors))
    before = matrices(layer, prune({name: tensors[name]}, plain).tensors[name]) != 0
    rule = Rule(score=Magnitude(), amount=Fraction(0.5), input_dim=dim, swaps=Swaps())
    _, after, _ = pruned(layer, rule)
    assert (after != 0).sum(2).tolist() == before.sum(2).tolist()
    assert not torch.equal(after != 0, before)


def test_fp8_codes_are_refitted_by_their_values() -> None:
    values, scale = LINEAR.float(), torch.tensor([[0.01], [0.02], [0.01], [0.03], [0.01], [0.5]])
    codes = (values / scale).clamp(-448, 448).to(torch.float8_e4m3fn)
    tensors = {"fc.weight": codes, "fc.weight_scale": scale, "fc.weight:in_gram": gram(X)}
    after = prune(tensors, Rule(score=Magnitude(), amount=Fraction(0.5), input_dim=1, update=REFIT)).tensors
    new = after["fc.weight"].float() * scale
    exact = calibrated.least_squares(codes.double() * scale, new != 0, gram(X), 0.001)
    step = torch.maximum(exact.abs() * 2**-4, scale * 2**-9)
    limit = scale * 448
    assert (new - exact.clamp(-limit, limit)).abs().le(step * 1.001).all()
    assert torch.equal(after["fc.weight_scale"], scale)


def test_fp8_codes_of_scale_zero_stay_zero() -> None:
    scale = torch.zeros(6, 1)
    tensors = {
        "fc.weight": LINEAR.to(torch.float8_e4m3fn),
        "fc.weight_scale": scale,
        "fc.weight:in_gram": gram(X),
    }
    rule = Rule(score=Magnitude(), amount=Fraction(0.5), input_dim=1, update=REFIT)
    assert (prune(tensors, rule).tensors["fc.weight"].float() == 0).all()


@pytest.mark.parametrize(("layer", "dim"), [("linear", 0), ("conv", 0), ("conv1d of gpt-2", 1)])
def test_groups_of_outputs_are_refused(layer: str, dim: int) -> None:
    tensors, input_dim = LAYERS[layer]
    rule = Rule(score=Magnitude(), granularity=NOfM(1, 2, dim=dim), input_dim=input_dim, swaps=Swaps())
    with pytest.raises(MismatchError, match=f"need groups of inputs; set n_of_m.dim to {input_dim}"):
        prune(tensors, rule)


@pytest.mark.parametrize("prior", [False, True], ids=["dense", "pruned before"])
@pytest.mark.parametrize(
    "changes", [{"score": ObsScore(), "update": SparseGpt()}, {"swaps": Swaps()}], ids=["obs", "swaps"]
)
@pytest.mark.parametrize(
    ("dim", "m"), [(1, 3), (2, 2), (3, 2)], ids=["channels", "rows of kernels", "columns of kernels"]
)
def test_groups_of_a_convolution_are_those_of_its_matrix(dim: int, m: int, changes: Any, prior: bool) -> None:
    columns = torch.arange(12).reshape(3, 2, 2).movedim(dim - 1, -1).reshape(-1)
    tensors, matrix = {"fc.weight": CONV}, {"fc.weight": CONV.reshape(6, 12)[:, columns].contiguous()}
    if prior:
        unpruned = torch.rand(CONV.shape, generator=torch.Generator().manual_seed(5)) < 0.7
        tensors = {"fc.weight": CONV * unpruned}
        tensors["fc.weight:mask_bits"] = pack(unpruned)
        matrix = {"fc.weight": tensors["fc.weight"].reshape(6, 12)[:, columns].contiguous()}
        matrix["fc.weight:mask_bits"] = pack(unpruned.reshape(6, 12)[:, columns])
    tensors["fc.weight:in_gram"] = gram(CONV_X)
    matrix["fc.weight:in_gram"] = gram(CONV_X)[columns][:, columns].contiguous()
    rule = replace(Rule(score=Magnitude(), granularity=NOfM(1, m, dim=dim), input_dim=1), **changes)
    flat = replace(rule, granularity=NOfM(1, m, dim=1))

    found = prune(tensors, rule).tensors["fc.weight"]

    expected = prune(matrix, flat).tensors["fc.weight"]
    torch.testing.assert_close(found.reshape(6, 12)[:, columns], expected)
    assert (found.movedim(dim, -1).reshape(-1, m) != 0).sum(1).max() == 1


def test_groups_along_the_inputs_of_conv1d_hold() -> None:
    tensors, _ = LAYERS["conv1d of gpt-2"]
    rule = Rule(score=ObsScore(), granularity=NOfM(2, 4, dim=0), input_dim=0, update=SparseGpt())
    kept = matrices("conv1d of gpt-2", prune(tensors, rule).tensors["c_fc.weight"])[0] != 0
    assert (kept.reshape(6, -1, 4).sum(2) == 2).all()


def test_integers_are_not_updated() -> None:
    tensors = {"fc.weight": LINEAR.to(torch.int8), "fc.weight:in_gram": gram(X)}
    rule = Rule(score=Magnitude(), amount=Fraction(0.5), input_dim=1, update=Refit(), select=Selector(("fc.weight",)))
    with pytest.raises(MismatchError, match="dtype I8"):
        prune(tensors, rule)
