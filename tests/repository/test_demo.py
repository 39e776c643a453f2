"""The demo says "yes" to what is so, and to nothing else."""

import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.demo import Tensors, claims_about, minilm

WEIGHT = np.array([[4.0, -1.0], [2.0, -3.0]], np.float32)
BEFORE: Tensors = {"fc.weight": WEIGHT, "fc.bias": np.array([0.5, 0.25], np.float32), "embeddings.weight": WEIGHT}


def after(weight: list[list[float]]) -> dict[str, NDArray[np.generic]]:
    return {**BEFORE, "fc.weight": np.array(weight, np.float32)}


def test_every_claim_holds_of_the_smaller_half_pruned() -> None:
    assert all(claims_about(BEFORE, after([[4.0, 0.0], [0.0, -3.0]])).values())


@pytest.mark.parametrize(
    ("result", "claim"),
    [
        ({"fc.weight": np.array([[4.0, 0.0], [0.0, -3.0]], np.float32)}, "tensors"),
        (after([[4.0, 0.0], [2.0, -3.0]]), "not one more or less"),
        (after([[4.0, 0.0], [2.0, 0.0]]), "smallest magnitude"),
        (after([[4.5, 0.0], [0.0, -3.0]]), "what it was"),
        (after([[4.0, 0.0], [0.0, -3.0]]) | {"fc.bias": np.zeros(2, np.float32)}, "byte for byte"),
    ],
    ids=[
        "a tensor is missing",
        "one entry too few",
        "the wrong entries",
        "a survivor changed",
        "another tensor changed",
    ],
)
def test_what_is_not_so_is_seen(result: Tensors, claim: str) -> None:
    (wrong,) = [text for text, holds in claims_about(BEFORE, result).items() if not holds]
    assert claim in wrong


def test_real_model_is_there() -> None:
    assert minilm().stat().st_size > 90_000_000
