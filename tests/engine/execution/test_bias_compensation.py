"""The update that adds what pruning takes from the mean output of a layer to its bias."""

import pytest
import torch

from pruning_engine import RecipeError
from pruning_engine.recipe import BiasCompensation, Fraction, Identity, Magnitude, OutputForm, Rule, Scope, Selector
from tests.engine.calibrated import Tensors, prune

torch.manual_seed(7)
WEIGHT = torch.randn(4, 6)
OTHER = torch.randn(5, 4)
BIAS = torch.randn(4)
SUM, COUNT = torch.randn(6, dtype=torch.float64) * 40, torch.tensor(20.0)
RULE = Rule(
    score=Magnitude(), amount=Fraction(0.5), input_dim=1, update=BiasCompensation(), select=Selector(("fc.*t",))
)
PRUNED = torch.where(WEIGHT.abs() > WEIGHT.abs().flatten().sort().values[11], WEIGHT, 0.0)
COMPENSATED = BIAS + ((WEIGHT - PRUNED).double() @ (SUM / 20)).float()


def file(dtype: torch.dtype = torch.float32, *, bias_first: bool = False) -> Tensors:
    bias = {"fc.bias": BIAS.to(dtype)}
    weight = {"fc.weight": WEIGHT.to(dtype), "fc.weight:in_sum": SUM, "fc.weight:in_count": COUNT}
    return {**bias, **weight} if bias_first else {**weight, **bias}


@pytest.mark.parametrize("bias_first", [False, True], ids=["weight first", "bias first"])
def test_bias_takes_up_the_mean_of_what_was_pruned(bias_first: bool) -> None:
    found = prune(file(bias_first=bias_first), RULE)
    assert torch.equal(found.tensors["fc.weight"], PRUNED)
    torch.testing.assert_close(found.tensors["fc.bias"], COMPENSATED, rtol=1e-6, atol=1e-6)
    assert [tensor.name for tensor in found.report.tensors] == ["fc.weight"]


def test_bias_of_bfloat16_is_rounded_once() -> None:
    found = prune(file(torch.bfloat16), RULE).tensors
    before = WEIGHT.bfloat16().double()
    delta = (before - found["fc.weight"].double()) @ (SUM / 20)
    assert torch.equal(found["fc.bias"], (BIAS.bfloat16().float() + delta.float()).bfloat16())


def test_masked_has_the_new_bias_by_its_name() -> None:
    found = prune(file(), RULE, output=OutputForm.MASKED).tensors
    assert found.keys() == {"fc.weight_orig", "fc.weight_mask", "fc.bias"}
    torch.testing.assert_close(found["fc.bias"], COMPENSATED, rtol=1e-6, atol=1e-6)


def test_layer_without_bias_is_only_pruned() -> None:
    tensors = {name: tensor for name, tensor in file().items() if name != "fc.bias"}
    assert torch.equal(prune(tensors, RULE).tensors["fc.weight"], PRUNED)


def test_pruned_bias_keeps_its_zeros() -> None:
    tensors = file() | {"fc.bias_orig": BIAS, "fc.bias_mask": torch.tensor([1.0, 0, 1, 1])}
    del tensors["fc.bias"]
    found = prune(tensors, RULE).tensors["fc.bias"]
    expected = torch.where(torch.tensor([True, False, True, True]), COMPENSATED, 0.0)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_masked_pair_of_a_bias_stays_a_pair() -> None:
    tensors = file() | {"fc.bias_orig": BIAS, "fc.bias_mask": torch.tensor([1.0, 0, 1, 1])}
    del tensors["fc.bias"]
    found = prune(tensors, RULE, output=OutputForm.MASKED).tensors
    assert found["fc.bias_mask"].tolist() == [True, False, True, True]
    assert found["fc.bias_orig"][1] == BIAS[1]


def test_bias_is_not_in_place_of_others() -> None:
    tensors = file() | {"up.weight": OTHER, "up.bias": torch.ones(5)}
    assert prune(tensors, RULE).tensors["up.bias"].tolist() == [1] * 5


def test_global_scope_compensates_after_the_barrier() -> None:
    tensors = file(bias_first=True) | {"fc2.weight": OTHER, "fc2.weight:in_sum": SUM[:4], "fc2.weight:in_count": COUNT}
    rule = Rule(
        score=Magnitude(),
        amount=Fraction(0.5),
        scope=Scope.GLOBAL,
        input_dim=1,
        update=BiasCompensation(),
    )
    found = prune(tensors, rule).tensors
    delta = (WEIGHT - found["fc.weight"]).double() @ (SUM / 20)
    torch.testing.assert_close(found["fc.bias"], BIAS + delta.float(), rtol=1e-6, atol=1e-6)


def test_bias_that_a_rule_selects_is_compensated_and_reported() -> None:
    rules = (RULE, Rule(score=Identity(), select=Selector(("fc.bias",))))
    found = prune(file(), *rules, output=OutputForm.MASKED)
    torch.testing.assert_close(found.tensors["fc.bias_orig"], COMPENSATED, rtol=1e-6, atol=1e-6)
    assert {tensor.name for tensor in found.report.tensors} == {"fc.weight", "fc.bias"}


def test_format_mask_is_refused() -> None:
    with pytest.raises(RecipeError, match="changes weights"):
        prune(file(), RULE, output=OutputForm.MASK)


def test_without_sums_nothing_is_known() -> None:
    tensors = {"fc.weight": WEIGHT, "fc.bias": BIAS}
    assert torch.equal(prune(tensors, RULE).tensors["fc.bias"], BIAS)
