"""On a GPU: the same bits as on the CPU."""

import pytest
import torch

from pruning_engine import prune_state_dict
from pruning_engine.recipe import Channels, Fraction, Magnitude, Random, Rule, Scope
from tests.engine.rules import recipe

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


def test_tensors_stay_where_they_are() -> None:
    state_dict = {"weight": torch.randn(8, 8, device="cuda")}
    result = prune_state_dict(state_dict, recipe(Rule(score=Magnitude(), amount=HALF))).state_dict["weight"]
    assert isinstance(result, torch.Tensor)
    assert result.is_cuda
    assert int((result == 0).sum()) == 32
