"""On a GPU: the same bits as on the CPU."""

import pytest
import torch

from pruning_engine import prune_state_dict
from pruning_engine.recipe import Channels, Entries, Fraction, Granularity, Magnitude, Random, Rule, Scope
from tests.engine.rules import recipe
from tests.engine.scaled import random_codes, random_scale
from tests.engine.tied import group, units

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

HALF = Fraction(0.5)


@pytest.mark.parametrize(
    "rule",
    [
        Rule(score=Magnitude(), amount=HALF, scope=Scope.GLOBAL),
        Rule(score=Random(), amount=HALF),
        Rule(score=Magnitude(2.0), amount=HALF, granularity=Channels()),
    ],
    ids=["magnitude", "random", "channels"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_masks_equal_those_of_the_cpu(rule: Rule, dtype: torch.dtype) -> None:
    state_dict = {"a.weight": torch.randn(512, 300).to(dtype), "b.weight": torch.randn(64, 32).to(dtype)}
    host = prune_state_dict(state_dict, recipe(rule), output="mask")
    device = prune_state_dict(state_dict, recipe(rule), output="mask", device="cuda")
    assert device.report.device == "cuda"
    for name, bits in host.state_dict.items():
        assert torch.equal(bits, device.state_dict[name])  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("is_there", [False, True], ids=["on the host", "on the device"])
def test_units_taken_out_are_those_of_the_cpu(dtype: torch.dtype, is_there: bool) -> None:
    state_dict = {"a": torch.randn(512, 300).to(dtype), "b": torch.randn(64, 512).to(dtype)}
    rule = units(group("a:0", "b:1"), amount=HALF)
    host = prune_state_dict(state_dict, recipe(rule), output="removed")
    moved = {name: tensor.cuda() if is_there else tensor for name, tensor in state_dict.items()}
    device = prune_state_dict(moved, recipe(rule), output="removed", device="cuda")
    assert device.report.groups == host.report.groups
    for name, left in device.state_dict.items():
        assert isinstance(left, torch.Tensor)
        assert left.is_cuda is is_there
        assert torch.equal(left.cpu().view(torch.uint8), host.state_dict[name].view(torch.uint8))  # type: ignore[attr-defined]


@pytest.mark.parametrize("granularity", [Entries(), Channels()], ids=["entries", "channels"])
def test_scaled_weights_rank_as_on_the_cpu(granularity: Granularity) -> None:
    state_dict = {"weight": random_codes(300, 512), "weight_scale_inv": random_scale(5, 8)}
    rule = Rule(score=Magnitude(), amount=HALF, granularity=granularity)
    host = prune_state_dict(state_dict, recipe(rule), output="mask")
    device = prune_state_dict(state_dict, recipe(rule), output="mask", device="cuda")
    assert torch.equal(host.state_dict["weight:mask_bits"], device.state_dict["weight:mask_bits"])  # type: ignore[arg-type]


def test_tensors_stay_where_they_are() -> None:
    state_dict = {"weight": torch.randn(8, 8, device="cuda")}
    result = prune_state_dict(state_dict, recipe(Rule(score=Magnitude(), amount=HALF))).state_dict["weight"]
    assert isinstance(result, torch.Tensor)
    assert result.is_cuda
    assert int((result == 0).sum()) == 32
