"""The methods on tensors of torch, as on a GPU, against those on arrays of numpy."""

from typing import Any

import numpy as np
import pytest
import torch

from pruning_engine.methods.alps import alps
from pruning_engine.methods.bias_compensation import bias_delta
from pruning_engine.methods.choices import Choice, by_matrix, by_rows, given, n_of_m
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.predicted_error import error_curve, relative_error
from pruning_engine.methods.refit import refit, refit_channels
from pruning_engine.methods.sparsegpt import eliminate
from pruning_engine.methods.swaps import swap
from tests.engine.methods.formulas import case, mask

ROWS, COLUMNS = 12, 150
KEEP = mask(ROWS, COLUMNS, kept=0.8)


@pytest.fixture(params=[0, 3], ids=["plain", "dead inputs"])
def layer(request: pytest.FixtureRequest) -> tuple[Any, Any, Any]:
    return case(ROWS, COLUMNS, 400, dead=request.param)


def on_torch(gram: Gram) -> Gram:
    return Gram.of_matrix(torch.from_numpy(gram.matrix))


def near(tensor: torch.Tensor, array: Any) -> None:
    np.testing.assert_allclose(tensor.numpy(), array, rtol=2e-3, atol=2e-3)


def choices(keep: Any) -> list[Choice]:
    return [by_matrix(500, keep), by_rows(40, keep), n_of_m(2, 4), given(keep)]


@pytest.mark.parametrize("index", range(4), ids=["matrix", "rows", "n of m", "given"])
def test_elimination(layer: tuple[Any, Any, Any], index: int) -> None:
    weight, _, gram = layer
    expected = eliminate(weight, gram, choices(KEEP)[index], keep=KEEP)
    keep = torch.from_numpy(KEEP)
    result = eliminate(torch.from_numpy(weight), on_torch(gram), choices(keep)[index], keep=keep)
    assert (result.keep.numpy() != expected.keep).sum() <= 2
    same = (result.keep.numpy() == expected.keep).all(axis=1)
    near(result.weight[torch.from_numpy(same)], expected.weight[same])
    assert result.damping == expected.damping


@pytest.mark.parametrize("index", range(4), ids=["matrix", "rows", "n of m", "given"])
def test_alternation(layer: tuple[Any, Any, Any], index: int) -> None:
    weight, gram = layer[0].astype(np.float64), Gram.of_matrix(layer[2].matrix.astype(np.float64))
    expected = alps(weight, gram, choices(KEEP)[index], keep=KEEP)
    keep = torch.from_numpy(KEEP)
    result = alps(torch.from_numpy(weight), on_torch(gram), choices(keep)[index], keep=keep)
    np.testing.assert_array_equal(result.keep.numpy(), expected.keep)
    near(result.weight, expected.weight)


def test_refit(layer: tuple[Any, Any, Any]) -> None:
    weight, _, gram = layer
    result = refit(torch.from_numpy(weight), torch.from_numpy(KEEP), on_torch(gram))
    near(result.weight, refit(weight, KEEP, gram).weight)


def test_refit_of_channels(layer: tuple[Any, Any, Any]) -> None:
    weight, _, gram = layer
    kept = np.arange(COLUMNS) % 3 > 0
    result = refit_channels(torch.from_numpy(weight), torch.from_numpy(kept), on_torch(gram))
    near(result.weight, refit_channels(weight, kept, gram).weight)


def test_swaps_are_the_same_bytes(layer: tuple[Any, Any, Any]) -> None:
    weight, _, gram = layer
    result = swap(torch.from_numpy(weight), torch.from_numpy(KEEP), on_torch(gram), frozen=torch.from_numpy(~KEEP))
    np.testing.assert_array_equal(result.numpy(), swap(weight, KEEP, gram, frozen=~KEEP))
    result = swap(torch.from_numpy(weight), torch.from_numpy(KEEP), on_torch(gram), group=5)
    np.testing.assert_array_equal(result.numpy(), swap(weight, KEEP, gram, group=5))


def test_errors_and_bias(layer: tuple[Any, Any, Any]) -> None:
    weight, inputs, gram = layer
    tensor = torch.from_numpy(weight)
    expected = relative_error(weight, weight * KEEP, gram)
    assert relative_error(tensor, tensor * torch.from_numpy(KEEP), on_torch(gram)) == pytest.approx(expected, rel=1e-4)
    for in_rows in (False, True):
        curve = error_curve(np.abs(weight), np.abs(weight), (0.2, 0.7), gram, in_rows=in_rows)
        result = error_curve(tensor.abs(), tensor.abs(), (0.2, 0.7), on_torch(gram), in_rows=in_rows)
        assert result == pytest.approx(curve, rel=1e-4)
    near(bias_delta(tensor, 0 * tensor, torch.from_numpy(inputs.mean(axis=0))), weight @ inputs.mean(axis=0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gram_of_inputs(dtype: torch.dtype) -> None:
    inputs = torch.randn(50, 9, generator=torch.Generator().manual_seed(0)).to(dtype)
    exact = inputs.double().T @ inputs.double()
    torch.testing.assert_close(Gram.of_inputs(inputs).matrix.double(), exact, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(Gram.of_inputs(inputs, np.float64).matrix, exact)


def test_damping_grows_where_there_is_no_factor() -> None:
    factor = Gram.of_matrix(torch.ones(4, 4)).inverse_cholesky(0.0)
    assert 0 < factor.damping < 0.01
