import numpy as np
import pytest

from pruning_engine.methods.choices import by_matrix, by_rows, given, n_of_m
from pruning_engine.methods.sparsegpt import eliminate
from tests.engine.methods.formulas import case, eliminated, error, mask

SHAPES = pytest.mark.parametrize(
    ("rows", "columns", "tokens", "dead"),
    [(6, 20, 64, 0), (1, 20, 64, 0), (6, 20, 64, 4), (6, 20, 5, 0), (4, 300, 700, 0), (3, 1100, 1500, 2)],
    ids=["plain", "one row", "dead inputs", "rank deficient", "several blocks", "several panels"],
)


@SHAPES
def test_weights_are_those_of_the_formula(rows: int, columns: int, tokens: int, dead: int) -> None:
    weight, _, gram = case(rows, columns, tokens, dead=dead)
    keep = mask(rows, columns)
    result = eliminate(weight, gram, given(keep), block=32)
    if columns <= 300:
        expected = eliminated(weight, keep, gram.matrix, 0.01)
        np.testing.assert_allclose(result.weight, expected, rtol=1e-2, atol=1e-2)
    np.testing.assert_array_equal(result.keep, keep)
    assert (result.weight[~keep] == 0).all()
    assert result.damping == 0.01


@SHAPES
@pytest.mark.parametrize("prior", [1.0, 0.8])
@pytest.mark.parametrize("block", [7, 128])
def test_counts_are_exact(rows: int, columns: int, tokens: int, dead: int, prior: float, block: int) -> None:
    weight, _, gram = case(rows, columns, tokens, dead=dead)
    before = mask(rows, columns, kept=prior)
    count = int(before.sum()) // 3
    kept = eliminate(weight, gram, by_matrix(count, before), keep=before, block=block).keep
    assert (before & ~kept).sum() == count
    assert not (kept & ~before).any()
    counts = before.sum(axis=1) // 3
    kept = eliminate(weight, gram, by_rows(counts, before), keep=before, block=block).keep
    np.testing.assert_array_equal((before & ~kept).sum(axis=1), counts)
    assert not (kept & ~before).any()


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 3), (5, 8), (1, 32)])
@pytest.mark.parametrize("columns", [96, 300, 19])
def test_groups_keep_n_of_m(n: int, m: int, columns: int) -> None:
    weight, _, gram = case(5, columns, 2 * columns)
    kept = eliminate(weight, gram, n_of_m(n, m)).keep
    whole = columns - columns % m
    assert (kept[:, :whole].reshape(5, -1, m).sum(axis=2) == n).all()
    assert kept[:, whole:].all()


def test_groups_with_few_candidates_lose_no_more() -> None:
    weight, _, gram = case(4, 16)
    before = mask(4, 16, kept=0.4)
    kept = eliminate(weight, gram, n_of_m(2, 4), keep=before).keep
    np.testing.assert_array_equal(kept.reshape(4, 4, 4).sum(axis=2), np.minimum(2, before.reshape(4, 4, 4).sum(axis=2)))


@pytest.mark.parametrize("to_prune", [0, 120])
def test_none_or_all_can_be_pruned(to_prune: int) -> None:
    weight, _, gram = case()
    everything = np.ones(weight.shape, bool)
    result = eliminate(weight, gram, by_matrix(to_prune, everything))
    assert (~result.keep).sum() == to_prune
    np.testing.assert_array_equal(result.weight, weight if to_prune == 0 else 0 * weight)


@pytest.mark.parametrize("count", [-1, 121])
def test_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="0 to 120 entries"):
        by_matrix(count, np.ones((6, 20), bool))
    with pytest.raises(ValueError, match="0 to 20 entries"):
        by_rows(count, np.ones((6, 20), bool))


def test_of_equal_scores_the_first_are_pruned() -> None:
    keep = np.ones((2, 4), bool)
    scores = np.ones((2, 4))
    assert by_matrix(3, keep)(scores, 0, keep).tolist() == [[False, False, False, True], [True] * 4]
    assert by_rows(2, keep)(scores, 0, keep).tolist() == [[False, False, True, True]] * 2


def test_chosen_mask_is_better_than_magnitude() -> None:
    weight, inputs, gram = case(16, 64, 256)
    chosen = eliminate(weight, gram, by_matrix(512, np.ones(weight.shape, bool)))
    least = np.abs(weight) <= np.sort(np.abs(weight), axis=None)[511]
    assert error(weight, chosen.weight, inputs) < 0.8 * error(weight, np.where(least, 0, weight), inputs)
