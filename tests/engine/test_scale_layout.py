"""Which scale each entry has, from the shapes of a weight and its scale."""

import numpy as np
import pytest

from pruning_engine.scale_layout import UnfitScaleError, scale_layout


@pytest.mark.parametrize(
    ("weight", "scale", "blocks"),
    [
        ((7168, 18432), (56, 144), (128, 128)),
        ((576, 7168), (5, 56), (128, 128)),
        ((200, 64), (2, 1), (128, 64)),
        ((8, 6), (1,), (8, 6)),
        ((8, 6), (), (8, 6)),
        ((8, 6), (8,), (1, 6)),
        ((4, 8, 6), (4, 8), (1, 1, 6)),
        ((0, 6), (0, 1), (1, 6)),
    ],
    ids=["DeepSeek", "cut short", "one block in a dim", "a tensor", "no dims", "channels", "experts", "no entries"],
)
def test_blocks_follow_from_shapes(weight: tuple[int, ...], scale: tuple[int, ...], blocks: tuple[int, ...]) -> None:
    assert scale_layout(weight, scale).blocks == blocks


@pytest.mark.parametrize(
    ("weight", "scale"),
    [((8, 6), (3, 1)), ((8, 6), (9, 1)), ((8, 6), (0, 1)), ((8, 6), (2,)), ((8,), (2, 1, 2)), ((480, 4), (10, 1))],
)
def test_other_shapes_fit_no_blocks(weight: tuple[int, ...], scale: tuple[int, ...]) -> None:
    with pytest.raises(UnfitScaleError):
        scale_layout(weight, scale)


def test_indices_are_those_of_blocks() -> None:
    layout = scale_layout((3, 4), (2, 2))
    found = layout.indices(np.arange(12)).reshape(3, 4)
    assert found.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3]]
