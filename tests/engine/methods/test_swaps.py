from itertools import product

import numpy as np
import pytest

from pruning_engine.methods.gram import Gram
from pruning_engine.methods.swaps import images, swap
from tests.engine.methods.formulas import Floats, Mask, case, loss, mask

SHAPES = pytest.mark.parametrize(
    ("rows", "columns", "tokens", "dead"),
    [(6, 20, 64, 0), (1, 20, 64, 0), (6, 20, 64, 4), (6, 20, 5, 0), (5, 300, 700, 3)],
    ids=["plain", "one row", "dead inputs", "rank deficient", "wide"],
)


def swapped_once(weight: Floats, keep: Mask, matrix: Floats, group: int) -> Mask:
    """Return the mask after the best of all swaps in each row, found by computing the loss of each."""
    result = keep.copy()
    for row in range(len(weight)):
        best, before = keep[row], loss(weight[row, None], keep[row, None], matrix)[0]
        for pruned, restored in product(np.nonzero(keep[row])[0], np.nonzero(~keep[row])[0]):
            other = keep[row].copy()
            other[[pruned, restored]] = False, True
            now = loss(weight[row, None], other[None], matrix)[0]
            if pruned // group == restored // group and now < before:
                best, before = other, now
        result[row] = best
    return result


@pytest.mark.parametrize("group", [None, 4, 5])
def test_best_of_all_pairs_is_swapped(group: int | None) -> None:
    weight, _, gram = case()
    keep = mask(*weight.shape)
    expected = swapped_once(weight, keep, gram.matrix, group or 1000)
    np.testing.assert_array_equal(swap(weight, keep, gram, steps=1, group=group), expected)


@SHAPES
@pytest.mark.parametrize("group", [None, 4])
@pytest.mark.parametrize("steps", [1, 50])
def test_swaps_lower_the_loss_and_keep_the_counts(
    rows: int, columns: int, tokens: int, dead: int, group: int | None, steps: int
) -> None:
    weight, _, gram = case(rows, columns, tokens, dead=dead)
    keep = mask(rows, columns)
    result = swap(weight, keep, gram, steps=steps, group=group)
    before, after = loss(weight, keep, gram.matrix), loss(weight, result, gram.matrix)
    assert (after <= before * (1 + 1e-6)).all()
    assert after.sum() < before.sum()
    np.testing.assert_array_equal(result.sum(axis=1), keep.sum(axis=1))
    if group:
        np.testing.assert_array_equal(*(m.reshape(-1, group).sum(axis=1) for m in (result, keep)))


def test_frozen_entries_are_never_restored() -> None:
    weight, _, gram = case()
    keep, frozen = mask(*weight.shape), mask(*weight.shape, seed=5)
    assert not (swap(weight, keep, gram, frozen=frozen) & ~keep & frozen).any()
    np.testing.assert_array_equal(swap(weight, keep, gram, frozen=~keep), keep)


@pytest.mark.parametrize("kept", [False, True])
def test_mask_of_one_kind_stays(kept: bool) -> None:
    weight, _, gram = case()
    keep = np.full(weight.shape, kept)
    np.testing.assert_array_equal(swap(weight, keep, gram), keep)


def test_equal_weights_are_not_swapped() -> None:
    keep = np.array([[True, False, True, False]])
    np.testing.assert_array_equal(swap(np.ones((1, 4)), keep, Gram.of_matrix(np.eye(4))), keep)


def test_first_of_equal_pairs_is_swapped() -> None:
    weight = np.array([[1.0, 3.0, 1.0, 3.0]], np.float32)
    keep = np.array([[True, False, True, False]])
    result = swap(weight, keep, Gram.of_matrix(np.eye(4, dtype=np.float32)), steps=1)
    assert result.tolist() == [[False, True, True, False]]


def test_sums_are_exact_integers_in_any_order() -> None:
    weight, _, gram = case(40, 513, 600)
    order = np.random.default_rng(0).permutation(513)
    shuffled = images(weight[:, order], gram.matrix[order][:, order])
    np.testing.assert_array_equal(images(weight, gram.matrix)[:, order], shuffled)
    np.testing.assert_array_equal(images(weight, gram.matrix)[:1], images(weight[:1], gram.matrix))


def test_sums_are_near_those_in_fp64() -> None:
    weight, _, gram = case(40, 513, 600)
    exact = weight.astype(float) @ gram.matrix.astype(float)
    scale = np.abs(weight * np.sqrt(gram.diagonal)).max(axis=1)[:, None] * np.sqrt(gram.diagonal)
    assert (np.abs(images(weight, gram.matrix) - exact) < 1e-4 * scale).all()
