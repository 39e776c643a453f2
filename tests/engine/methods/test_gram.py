import re

import numpy as np
import pytest

from pruning_engine.methods.factorisation import inverse
from pruning_engine.methods.gram import Gram, faults
from tests.engine.methods.formulas import Floats, case, damped, layer


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gram_is_the_product_of_the_inputs(dtype: type) -> None:
    inputs: Floats = layer(1, 7, 30)[1].astype(dtype)
    exact = inputs.astype(float).T @ inputs.astype(float)
    np.testing.assert_allclose(Gram.of_inputs(inputs).matrix, exact, rtol=1e-4, atol=1e-4 * exact.max())
    np.testing.assert_allclose(Gram.of_inputs(inputs, np.float64).matrix, exact, rtol=1e-12, atol=1e-12 * exact.max())


@pytest.mark.parametrize("columns", [1, 2, 20, 300, 700])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_factor_is_that_of_the_damped_inverse(columns: int, dtype: type) -> None:
    gram = Gram.of_inputs(layer(1, columns, 2 * columns)[1], dtype)
    factor = gram.inverse_cholesky(0.01)
    assert factor.damping == 0.01
    np.testing.assert_array_equal(factor.upper, np.triu(factor.upper))
    identity = factor.upper.astype(float).T @ factor.upper @ damped(gram.matrix, 0.01)
    np.testing.assert_allclose(identity, np.eye(columns), atol=2e-2 if dtype == np.float32 else 1e-9)


@pytest.mark.parametrize("columns", [1, 20, 512, 1100])
def test_inverse_is_that_of_the_damped_matrix(columns: int) -> None:
    matrix = Gram.of_inputs(layer(1, columns, 2 * columns)[1], np.float64).matrix
    result = inverse(matrix, 2.0)
    np.testing.assert_allclose(result @ (matrix + 2.0 * np.eye(columns)), np.eye(columns), atol=1e-8)
    np.testing.assert_array_equal(result, result.T)


def test_factor_is_computed_once_per_damping() -> None:
    gram = case()[2]
    assert gram.inverse_cholesky(0.01) is gram.inverse_cholesky(0.01)
    assert gram.inverse_cholesky(0.01) is not gram.inverse_cholesky(0.02)


@pytest.mark.parametrize("damping", [0.0, 1e-9])
def test_damping_grows_until_the_factor_exists(damping: float) -> None:
    gram = Gram.of_inputs(layer(1, 600, 5)[1])  # of rank 5
    factor = gram.inverse_cholesky(damping)
    assert damping < factor.damping < 0.01
    assert np.isfinite(factor.upper).all()


def test_dead_inputs_do_not_prevent_a_factor() -> None:
    gram = case(columns=10, dead=3)[2]
    assert gram.dead.tolist() == [False] * 7 + [True] * 3
    assert np.isfinite(gram.inverse_cholesky(0.0).upper).all()


def test_gram_of_no_input_at_all_has_a_factor() -> None:
    np.testing.assert_array_equal(Gram.of_matrix(np.zeros((3, 3))).inverse_cholesky(0.01).upper, np.eye(3))


def test_matrix_that_no_damping_helps_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        Gram.of_matrix(np.full((2, 2), np.nan)).inverse_cholesky(0.01)
    with pytest.raises(ValueError, match="not positive semi-definite"):
        Gram.of_matrix(np.array([[1.0, 1e9], [1e9, 1.0]])).inverse_cholesky(0.01)


def with_entry(row: int, column: int, value: float) -> Floats:
    matrix = np.eye(3)
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones(3), r"h has shape \[3\], expected \[3, 3\]"),
        (np.ones((2, 3)), r"h has shape \[2, 3\]"),
        (np.eye(4), r"h has shape \[4, 4\]"),
        (np.eye(3, dtype=np.int64), "h has dtype int64"),
        (with_entry(0, 1, np.nan), "not finite"),
        (with_entry(1, 1, -1), "negative diagonal entry, -1 at 1"),
        (with_entry(2, 0, 0.5), r"not symmetric: \[0, 2\] is 0, \[2, 0\] is 0.5"),
        (np.ones((3, 3)) + np.eye(3) * -0.5, "larger than its diagonal allows"),
    ],
)
def test_fault_of_a_matrix_is_said(matrix: Floats, message: str) -> None:
    said = faults(matrix, "h", 3)
    assert said is not None
    assert re.search(message, said)


@pytest.mark.parametrize("dead", [0, 2])
def test_sums_in_fp32_have_no_fault(dead: int) -> None:
    assert faults(case(columns=50, tokens=3000, dead=dead)[2].matrix, "h", 50) is None
