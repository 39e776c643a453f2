"""The least entries of a matrix or of its rows, against plain stable sorting."""

import numpy as np
import pytest

from pruning_engine.methods.least import prune_least, prune_least_in_rows
from pruning_engine.runtime.yield_points import yielding
from tests.engine.methods.formulas import Floats, Mask

CHANCE = np.random.default_rng(0)
SHAPE = (130, 5000)
"""More entries than one block, so that the cut is found by a sample."""

SCORES = {
    "different": CHANCE.normal(size=SHAPE).astype(np.float32),
    "few values": CHANCE.integers(0, 4, SHAPE).astype(np.float32),
    "equal": np.ones(SHAPE, np.float32),
    "unlike rows": np.exp(np.arange(130.0)[:, None] - 60 + CHANCE.normal(size=SHAPE)),
    "infinite": np.where(CHANCE.random(SHAPE) < 0.5, np.inf, 1.0),
    "a block": CHANCE.normal(size=(3, 7)),
}


def sorted_least(scores: Floats, candidates: Mask, count: int) -> Mask:
    places = np.flatnonzero(candidates)
    result = candidates.copy()
    result.flat[places[np.argsort(scores.flat[places], kind="stable")[:count]]] = False
    return result


@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize("part", [0.0, 1e-5, 0.3, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("kept", [1.0, 0.4])
def test_least_of_a_matrix_are_pruned(scores: Floats, part: float, kept: float) -> None:
    candidates = np.random.default_rng(1).random(scores.shape) < kept
    count = round(part * candidates.sum())
    np.testing.assert_array_equal(prune_least(scores, candidates, count), sorted_least(scores, candidates, count))


@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES)
def test_least_of_each_row_are_pruned(scores: Floats) -> None:
    candidates = np.random.default_rng(1).random(scores.shape) < 0.6
    counts = candidates.sum(axis=1) * np.arange(len(scores)) // len(scores)
    expected = [sorted_least(row, mask, count) for row, mask, count in zip(scores, candidates, counts, strict=True)]
    np.testing.assert_array_equal(prune_least_in_rows(scores, candidates, counts), expected)


def test_long_scan_pauses_between_its_blocks() -> None:
    pauses: list[None] = []
    with yielding(lambda: pauses.append(None)):
        prune_least(np.ones((4096, 1024)), np.ones((4096, 1024), bool), 9)
    assert len(pauses) >= 8
