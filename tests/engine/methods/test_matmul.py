"""Products of large matrices: divided among threads, and into pieces where others wait."""

from collections.abc import Callable

import numpy as np
import pytest

from pruning_engine.methods.alps import alps
from pruning_engine.methods.choices import by_matrix
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.matmul import matmul
from pruning_engine.methods.refit import refit
from pruning_engine.methods.sparsegpt import eliminate
from pruning_engine.methods.swaps import swap
from pruning_engine.runtime.threads import get_threads, set_threads
from pruning_engine.runtime.yield_points import yielding

CHANCE = np.random.default_rng(0)


class EndedError(Exception):
    pass


def end() -> None:
    raise EndedError


@pytest.mark.parametrize("shape", [(0, 3, 4), (1, 3, 4), (700, 900, 1000), (3, 4000, 4000)], ids=str)
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_product_is_that_of_numpy(shape: tuple[int, int, int], threads: int) -> None:
    one, other = CHANCE.integers(-9, 9, shape[:2]).astype(np.float32), np.ones(shape[1:], np.float32)
    before, out = get_threads(), np.empty((shape[0], shape[2]), np.float32)
    set_threads(threads)
    try:
        with yielding(lambda: None):
            assert matmul(one, other, out) is out
    finally:
        set_threads(before)
    assert (out == one @ other).all()


def test_long_product_pauses_between_its_pieces() -> None:
    pauses: list[None] = []
    with yielding(lambda: pauses.append(None)):
        matmul(np.ones((2048, 1024), np.float32), np.ones((1024, 2048), np.float32))
    assert len(pauses) >= 4


@pytest.mark.parametrize("method", ["sparsegpt", "alps", "refit", "swaps"])
def test_method_ends_at_a_pause(method: str) -> None:
    weight = CHANCE.standard_normal((256, 256), np.float32)
    keep, gram = weight > 0, Gram.of_inputs(CHANCE.standard_normal((512, 256), np.float32))
    run: dict[str, Callable[[], object]] = {
        "sparsegpt": lambda: eliminate(weight, gram, by_matrix(9000, np.ones_like(keep))),
        "alps": lambda: alps(weight, gram, by_matrix(9000, np.ones_like(keep))),
        "refit": lambda: refit(weight, keep, gram),
        "swaps": lambda: swap(weight, keep, gram),
    }
    with yielding(end), pytest.raises(EndedError):
        run[method]()
