"""Amounts of the least sum of predicted errors, compared with trying all divisions."""

import pytest
import torch

from pruning_engine.allocations.allocation import Allotted
from pruning_engine.allocations.least_predicted_error import LeastPredictedError
from pruning_engine.recipe import Fraction, Magnitude, Rule
from tests.engine.calibrated import error, gram, inputs, prune

torch.manual_seed(1)
X = {"a.weight": inputs(16, seed=1), "b.weight": inputs(16, seed=2) * torch.linspace(0.01, 3, 16)}
WEIGHTS = {"a.weight": torch.randn(20, 16), "b.weight": torch.randn(20, 16) ** 3}
FILE = WEIGHTS | {f"{name}:in_gram": gram(rows) for name, rows in X.items()}
ALLOCATED = Rule(score=Magnitude(), amount=Fraction(0.5), input_dim=1, allocation=LeastPredictedError())


def pruned_by(count: int, name: str) -> float:
    weight = WEIGHTS[name]
    after = weight.flatten().clone()
    after[weight.abs().flatten().argsort(stable=True)[:count]] = 0
    return error(weight, after.view(weight.shape), X[name])


def test_sum_of_errors_is_near_the_least() -> None:
    found = prune(FILE, ALLOCATED).report.tensors
    counts = {tensor.name: tensor.pruned for tensor in found}
    assert sum(counts.values()) == 320
    reached = sum(pruned_by(count, name) for name, count in counts.items())
    divisions = (pruned_by(count, "a.weight") + pruned_by(320 - count, "b.weight") for count in range(321))
    assert reached <= min(divisions) * 1.02
    assert counts["a.weight"] != counts["b.weight"]


@pytest.mark.parametrize("density", [0.0, 0.3, 0.5, 0.99, 1.0])
def test_total_is_kept_within_limits(density: float) -> None:
    curves = [[step**2 / 400 for step in range(21)], [(step / 20) ** 0.5 for step in range(21)]]
    tensors = [
        Allotted(shape=(10, 10), least=0.0, most=1.0, measure=curves[0]),
        Allotted(shape=(5, 20), least=0.0, most=1.0, measure=curves[1]),
    ]
    found = LeastPredictedError().densities(tensors, density)
    assert sum(found) / 2 == pytest.approx(density)
    assert all(0 <= each <= 1 for each in found)


def test_limits_hold() -> None:
    curve = [step / 20 for step in range(21)]
    steep = [step / 2 for step in range(21)]
    tensors = [
        Allotted(shape=(10, 10), least=0.4, most=1.0, measure=curve),
        Allotted(shape=(10, 10), least=0.0, most=0.9, measure=steep),
    ]
    assert LeastPredictedError().densities(tensors, 0.5) == pytest.approx([0.4, 0.6])
