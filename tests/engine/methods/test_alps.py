import numpy as np
import pytest

from pruning_engine.methods.alps import alps
from pruning_engine.methods.choices import by_matrix, by_rows, given, n_of_m
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.refit import refit
from pruning_engine.methods.sparsegpt import eliminate
from tests.engine.methods.formulas import Floats, Mask, case, error, mask


def alternated(weight: Floats, matrix: Floats, count: int, steps: int) -> tuple[Mask, Floats]:
    """Return ALPS' mask and weights as the paper writes them: W, D and V apart, with a solution of each system."""
    roots = np.sqrt(np.diag(matrix).astype(float))
    scaled = matrix / np.outer(roots, roots) + 0.01 * np.eye(len(matrix))
    dense, rho = weight * roots, 0.1

    def projected(solution: Floats) -> Floats:
        result = solution.copy()
        result.flat[np.argsort(np.abs(solution), axis=None)[:count]] = 0
        return result

    sparse, dual, last = projected(dense), np.zeros(dense.shape), projected(dense)
    for step in range(1, steps + 1):
        right = dense @ scaled - dual + rho * sparse
        solution = np.linalg.solve(scaled + rho * np.eye(len(matrix)), right.T).T
        sparse = projected(solution + dual / rho)
        dual = dual + rho * (solution - sparse)
        if step % 3 == 0:
            changed = ((sparse != 0) != (last != 0)).sum() / (sparse != 0).sum()
            if changed == 0:
                break
            last, rho = sparse, rho * (1.3 if changed >= 0.1 else 1.2 if changed >= 0.005 else 1.1)
    return sparse != 0, sparse / roots


@pytest.mark.parametrize("steps", [3, 12, 300])
def test_alternation_is_that_of_the_paper(steps: int) -> None:
    weight, _, gram = case(6, 40, 120)
    everything = np.ones(weight.shape, bool)
    result = alps(weight.astype(float), gram, by_matrix(144, everything), steps=steps, damping=0.01)
    keep, expected = alternated(weight, gram.matrix, 144, steps)
    np.testing.assert_array_equal(result.keep, keep)
    np.testing.assert_allclose(result.weight, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dead", [0, 4])
def test_refitted_error_is_below_that_of_sparsegpt(dead: int) -> None:
    weight, inputs, gram = case(16, 64, 256, dead=dead)
    choose = by_matrix(700, np.ones(weight.shape, bool))
    errors = []
    for first in (eliminate(weight, gram, choose), alps(weight, gram, choose)):
        refitted = refit(weight, first.keep, gram, start=first.weight)
        errors.append(error(weight, refitted.weight, inputs))
    assert errors[1] < 0.95 * errors[0]


@pytest.mark.parametrize(
    ("tokens", "rows", "dead"), [(5, 6, 0), (64, 1, 0), (5, 6, 4)], ids=["rank deficient", "one row", "dead inputs"]
)
def test_any_layer_has_a_finite_result(tokens: int, rows: int, dead: int) -> None:
    weight, _, gram = case(rows, 20, tokens, dead=dead)
    result = alps(weight, gram, by_rows(10, np.ones(weight.shape, bool)))
    assert np.isfinite(result.weight).all()
    assert (~result.keep).sum(axis=1).tolist() == [10] * rows
    assert (result.weight[:, 20 - dead :] == 0).all()
    assert result.damping == 0.05


def test_damping_grows_until_the_matrix_is_positive_definite() -> None:
    matrix = np.eye(4) * 2 - 1  # an eigenvalue of -2
    result = alps(np.ones((2, 4)), Gram.of_matrix(matrix), n_of_m(2, 4))
    assert result.damping == 5.0
    with pytest.raises(ValueError, match="not positive semi-definite"):
        alps(np.ones((2, 2)), Gram.of_matrix(np.array([[1.0, 1e9], [1e9, 1.0]])), n_of_m(1, 2))


def test_mask_is_what_was_asked_for() -> None:
    weight, _, gram = case(8, 64, 200)
    before = mask(8, 64, kept=0.9)
    result = alps(weight, gram, by_rows(20, before), keep=before)
    np.testing.assert_array_equal((before & ~result.keep).sum(axis=1), 20)
    assert (result.weight[~result.keep] == 0).all()
    assert (alps(weight, gram, n_of_m(2, 4)).keep.reshape(8, 16, 4).sum(axis=2) == 2).all()
    np.testing.assert_array_equal(alps(weight, gram, given(before)).keep, before)
