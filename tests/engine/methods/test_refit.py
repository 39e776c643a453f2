import numpy as np
import pytest

from pruning_engine.methods.choices import given
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.refit import refit, refit_channels
from pruning_engine.methods.sparsegpt import eliminate
from tests.engine.methods.formulas import best_within, case, damped, error, layer, mask

CASES = pytest.mark.parametrize(
    ("rows", "columns", "tokens", "dead"),
    [(6, 20, 64, 0), (1, 20, 64, 0), (6, 20, 64, 4), (6, 20, 5, 0), (3, 1, 4, 0), (5, 130, 400, 1)],
    ids=["plain", "one row", "dead inputs", "rank deficient", "one column", "wide"],
)


@CASES
def test_refit_is_least_squares_within_the_mask(rows: int, columns: int, tokens: int, dead: int) -> None:
    weight, inputs, gram = case(rows, columns, tokens, dead=dead)
    keep = mask(rows, columns)
    result = refit(weight.astype(float), keep, Gram.of_inputs(inputs, np.float64), steps=600, damping=0.01)
    assert (result.weight[~keep] == 0).all()
    assert result.damping == 0.01
    exact = best_within(weight, keep, gram.matrix, 0.01)
    assert error(weight, result.weight, inputs) <= 1.001 * error(weight, exact, inputs) + 1e-6


@CASES
@pytest.mark.parametrize("steps", [0, 1, 3, 20])
@pytest.mark.parametrize("start", [False, True])
def test_refit_never_raises_the_error(rows: int, columns: int, tokens: int, dead: int, steps: int, start: bool) -> None:
    weight, inputs, gram = case(rows, columns, tokens, dead=dead)
    keep = mask(rows, columns)
    begin = eliminate(weight, gram, given(keep)).weight if start else weight * keep
    result = refit(weight, keep, gram, steps=steps, damping=0.1, start=begin if start else None)
    assert error(weight, result.weight, inputs) <= (1 + 1e-5) * error(weight, begin, inputs)
    assert result.weight.dtype == np.float32


def test_more_steps_give_less_error() -> None:
    weight, inputs, gram = case(8, 60, 300)
    keep = mask(8, 60)
    errors = [error(weight, refit(weight, keep, gram, steps=steps).weight, inputs) for steps in (0, 2, 5, 20)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.9 * errors[0]


def test_refit_leaves_its_arguments_alone() -> None:
    weight, _, gram = case()
    keep, start = mask(*weight.shape), weight.copy()
    copies = [array.copy() for array in (weight, keep, start, gram.matrix)]
    refit(weight, keep, gram, start=start)
    for array, copy in zip((weight, keep, start, gram.matrix), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_refit_in_place_is_written_over_its_start() -> None:
    weight, _, gram = case()
    keep, start = mask(*weight.shape), eliminate(weight, gram, given(mask(*weight.shape))).weight
    expected = refit(weight, keep, gram, start=start).weight
    result = refit(weight, keep, gram, start=start, in_place=True).weight
    assert result is start
    np.testing.assert_array_equal(result, expected)


@CASES
def test_refit_of_channels_is_their_least_squares(rows: int, columns: int, tokens: int, dead: int) -> None:
    weight, inputs = layer(rows, columns, tokens, dead=dead)
    gram = Gram.of_inputs(inputs, np.float64)
    kept = np.arange(columns) % 2 == 0
    result = refit_channels(weight.astype(float), kept, gram)
    assert (result.weight[:, ~kept] == 0).all()
    penalty = 0.01 * gram.scale * np.eye(columns)[:, kept]
    images = weight @ (gram.matrix[:, kept] + penalty)
    exact = np.linalg.solve(damped(gram.matrix, 0.01)[np.ix_(kept, kept)], images.T).T
    np.testing.assert_allclose(result.weight[:, kept], exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("damping", [0.01, 0.0965, 3.54462])
def test_refit_of_channels_returns_the_damping_asked_for(damping: float) -> None:
    weight, _, gram = case()
    kept = np.arange(20) % 3 == 0
    assert refit_channels(weight, kept, gram, damping=damping).damping == damping


def test_refit_of_all_channels_changes_nothing() -> None:
    weight, _, gram = case()
    np.testing.assert_allclose(refit_channels(weight, np.ones(20, bool), gram).weight, weight, rtol=1e-3, atol=1e-3)


def test_few_steps_suffice_for_inputs_that_depend_on_each_other() -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(900, 12)) @ (9 * random.normal(size=(12, 300))) + random.normal(size=(900, 300))
    weight, keep = random.normal(size=(10, 300)), mask(10, 300)
    gram = Gram.of_inputs(inputs, np.float64)
    exact = error(weight, best_within(weight, keep, gram.matrix, 0.001), inputs)
    assert error(weight, refit(weight, keep, gram, steps=4).weight, inputs) < 1.02 * exact
