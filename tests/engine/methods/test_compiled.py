"""The compiled loops against numpy's: swaps to the bit, weights to rounding errors, on every instruction set."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pruning_engine.kernels.compiled.library import LEVELS, NUMPY, available_kernels, set_kernels
from pruning_engine.kernels.compiled.statistics_kernels import PATH, calibrated_kernels
from pruning_engine.methods.choices import by_matrix, given, n_of_m
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.refit import refit
from pruning_engine.methods.sparsegpt import eliminate
from pruning_engine.methods.swaps import swap
from pruning_engine.runtime.threads import get_threads, set_threads
from tests.engine.methods.formulas import case, mask

ON_EACH_LEVEL = pytest.mark.parametrize(
    "level",
    [
        pytest.param(level, marks=pytest.mark.skipif(level not in available_kernels(), reason="not on this machine"))
        for level in LEVELS
    ],
)
SHAPES = pytest.mark.parametrize(
    ("rows", "columns", "dead"),
    [(1, 1, 0), (3, 15, 0), (70, 64, 0), (9, 300, 7), (130, 257, 0)],
    ids=str,
)


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    threads = get_threads()
    yield
    set_kernels("auto")
    set_threads(threads)


def test_library_is_compiled() -> None:
    assert PATH.exists()
    assert calibrated_kernels(np.zeros(1, np.float32)) is not None
    assert calibrated_kernels(np.zeros(1, np.float64)) is None


@ON_EACH_LEVEL
@SHAPES
@pytest.mark.parametrize("group", [None, 4, 3])
@pytest.mark.parametrize("candidates", [1, 8, 48])
def test_swaps_are_those_of_numpy(
    level: str, rows: int, columns: int, dead: int, group: int | None, candidates: int
) -> None:
    weight, _, gram = case(rows, columns, 2 * columns, dead=dead)
    keep, frozen = mask(rows, columns), mask(rows, columns, kept=0.1, seed=3)

    def swapped(kernels: str) -> npt.NDArray[Any]:
        set_kernels(kernels)
        result: npt.NDArray[Any] = swap(weight, keep, gram, steps=30, candidates=candidates, group=group, frozen=frozen)
        return result

    np.testing.assert_array_equal(swapped(level), swapped(NUMPY))


@ON_EACH_LEVEL
@pytest.mark.parametrize("kept", [0.02, 0.98])
def test_swaps_of_few_entries_are_those_of_numpy(level: str, kept: float) -> None:
    weight, _, gram = case(20, 300, 400)
    weight = np.round(weight)  # many are equal, many 0
    keep = mask(20, 300, kept=kept)
    set_kernels(level)
    compiled = swap(weight, keep, gram)
    set_kernels(NUMPY)
    np.testing.assert_array_equal(compiled, swap(weight, keep, gram))


def test_equal_costs_by_hundreds_are_swapped_as_in_numpy() -> None:
    weight = np.tile(np.array([1.0, 3.0, 2.0, 3.0], np.float32), (3, 400))
    keep = np.tile(np.array([True, False, True, True]), (3, 400))
    gram = Gram.of_matrix(np.eye(1600, dtype=np.float32))
    compiled = swap(weight, keep, gram)
    set_kernels(NUMPY)
    np.testing.assert_array_equal(compiled, swap(weight, keep, gram))


@pytest.mark.parametrize("group", [None, 4])
def test_swaps_do_not_depend_on_threads(group: int | None) -> None:
    weight, _, gram = case(150, 128, 300)
    results = []
    for threads in (1, 2, 7):
        set_threads(threads)
        results.append(swap(weight, mask(150, 128), gram, group=group).tobytes())
    assert len(set(results)) == 1


@ON_EACH_LEVEL
@SHAPES
def test_elimination_is_that_of_numpy(level: str, rows: int, columns: int, dead: int) -> None:
    weight, _, gram = case(rows, columns, 2 * columns + 1, dead=dead)
    before = mask(rows, columns, kept=0.9)
    for choose in (given(mask(rows, columns)), by_matrix(int(before.sum()) // 2, before), n_of_m(2, 4), n_of_m(3, 7)):
        set_kernels(level)
        compiled = eliminate(weight, gram, choose, keep=before)
        set_kernels(NUMPY)
        reference = eliminate(weight, gram, choose, keep=before)
        assert (compiled.keep != reference.keep).mean() < 0.01
        same = (compiled.keep == reference.keep).all(axis=1)
        np.testing.assert_allclose(compiled.weight[same], reference.weight[same], rtol=1e-3, atol=1e-3)


@ON_EACH_LEVEL
@SHAPES
def test_refit_is_that_of_numpy(level: str, rows: int, columns: int, dead: int) -> None:
    weight, _, gram = case(rows, columns, 2 * columns + 1, dead=dead)
    keep = mask(rows, columns)
    set_kernels(level)
    compiled = refit(weight, keep, gram, steps=5).weight
    set_kernels(NUMPY)
    np.testing.assert_allclose(compiled, refit(weight, keep, gram, steps=5).weight, rtol=1e-3, atol=1e-3)
