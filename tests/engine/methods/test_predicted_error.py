import math

import numpy as np
import pytest

from pruning_engine.methods.bias_compensation import bias_delta
from pruning_engine.methods.predicted_error import error_curve, errors_of_masks, output_energy, relative_error
from tests.engine.methods.formulas import case, error, mask


@pytest.mark.parametrize("rows", [1, 6])
@pytest.mark.parametrize("dead", [0, 5])
def test_error_is_that_of_the_outputs(rows: int, dead: int) -> None:
    weight, inputs, gram = case(rows, dead=dead)
    pruned = np.where(mask(*weight.shape), 1.1 * weight, 0)
    assert relative_error(weight, pruned, gram) == pytest.approx(error(weight, pruned, inputs), rel=1e-4)
    energy = output_energy(weight, gram)
    assert relative_error(weight, pruned, gram, energy=energy) == relative_error(weight, pruned, gram)


def test_error_without_statistics_is_that_of_the_weights() -> None:
    weight = np.array([[3.0, 4.0]])
    assert relative_error(weight, np.array([[3.0, 0.0]]), None) == pytest.approx(0.8)


@pytest.mark.parametrize(("weight", "expected"), [([[0.0, 0.0]], math.inf), ([[1.0, 1.0]], 0.0)])
def test_error_of_outputs_that_are_zero(weight: list[list[float]], expected: float) -> None:
    assert relative_error(np.array(weight), np.ones((1, 2)), None) == expected


@pytest.mark.parametrize("in_rows", [False, True])
def test_curve_is_the_error_at_each_sparsity(in_rows: bool) -> None:
    weight, inputs, gram = case()
    scores = np.abs(weight)
    order = np.argsort(scores, axis=1) if in_rows else np.argsort(scores, axis=None)
    expected = []
    for sparsity in (0.0, 0.25, 1.0):
        pruned = weight.copy()
        if in_rows:
            np.put_along_axis(pruned, order[:, : round(20 * sparsity)], 0, axis=1)
        else:
            pruned.flat[order[: round(120 * sparsity)]] = 0
        expected.append(error(weight, pruned, inputs))
    assert error_curve(weight, scores, (0.0, 0.25, 1.0), gram, in_rows=in_rows) == pytest.approx(expected, rel=1e-4)


def test_errors_of_masks_are_those_of_the_pruned_weights() -> None:
    weight, inputs, gram = case()
    keep = mask(*weight.shape)
    assert errors_of_masks(weight, [keep], gram) == pytest.approx([error(weight, weight * keep, inputs)], rel=1e-4)


def test_compensated_bias_keeps_the_mean_output() -> None:
    weight, inputs, _ = case()
    pruned = weight * mask(*weight.shape)
    delta = bias_delta(weight, pruned, inputs.mean(axis=0))
    np.testing.assert_allclose((inputs @ pruned.T + delta).mean(axis=0), (inputs @ weight.T).mean(axis=0), rtol=1e-3)
