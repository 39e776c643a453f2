"""Auxiliary tensors: the table, and which names belong to it."""

import pytest

from pruning_engine.allocations.table import ALLOCATIONS
from pruning_engine.checkpoints.auxiliary_tensors import (
    AUXILIARY_TENSORS,
    Shape,
    ShapePattern,
    auxiliary_suffix,
    described,
    fits,
)
from pruning_engine.scores.table import SCORES
from pruning_engine.updates.swaps import Swaps
from pruning_engine.updates.table import UPDATES
from pruning_proto.names import AUXILIARY, IN_COUNT, IN_GRAM, IN_SUM2, INPUTS, MASK_BITS, OUT_GRAM, UNIT_SCORES


def test_table_has_every_suffix_of_the_contract() -> None:
    assert set(AUXILIARY_TENSORS) == set(AUXILIARY)


def test_each_auxiliary_tensor_has_a_user() -> None:
    users = (*SCORES.values(), *UPDATES.values(), *ALLOCATIONS.values(), Swaps)
    choices = (each for user in users for each in (*user.statistics, *user.optional_statistics))  # type: ignore[attr-defined]
    used = {suffix for score in SCORES.values() for suffix in score.auxiliary}
    assert used | {MASK_BITS} | {suffix for each in choices for suffix in each} == set(AUXILIARY_TENSORS)


@pytest.mark.parametrize(
    ("suffix", "weight", "allowed"),
    [
        (IN_SUM2, (2, 3), [(2,), (3,)]),
        (IN_SUM2, (2, 3, 5, 7), [(3,), (105,)]),
        (IN_SUM2, (2, 3, 5), [(3,), (15,), (2, 3), (2, 5)]),
        (IN_SUM2, (2,), []),
        (IN_COUNT, (2, 3), [(), (1,)]),
        (IN_COUNT, (2, 3, 5), [(), (1,), (2,)]),
        (IN_GRAM, (2, 3), [(2, 2), (3, 3)]),
        (IN_GRAM, (2, 3, 5), [(15, 15), (2, 3, 3), (2, 5, 5)]),
        (IN_GRAM, (2, 3, 5, 7), [(105, 105)]),
        (INPUTS, (2, 3), [(None, 2), (None, 3)]),
        (INPUTS, (2, 3, 5), [(None, 15), (2, None, 3), (2, None, 5)]),
        (OUT_GRAM, (2, 3), [(3, 3), (2, 2)]),
        (OUT_GRAM, (2, 3, 5), [(2, 2)]),
        (UNIT_SCORES, (2, 3), [(None,)]),
    ],
)
def test_shapes_follow_from_the_inputs_of_a_weight(suffix: str, weight: Shape, allowed: list[ShapePattern]) -> None:
    assert list(AUXILIARY_TENSORS[suffix].shapes(weight)) == allowed


@pytest.mark.parametrize(("shape", "is_allowed"), [((1, 3), True), ((9, 3), True), ((0, 3), False), ((3,), False)])
def test_any_size_is_from_1(shape: Shape, *, is_allowed: bool) -> None:
    assert fits(shape, (None, 3)) is is_allowed


def test_patterns_are_described_in_words() -> None:
    assert described([(3,), (None, 3), (3,)]) == "[3] or [T, 3] with any T from 1"
    assert described([(), (1,)]) == "[] or [1]"


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("w:scores", ":scores"), ("w:mask_bits", ":mask_bits"), ("kernel:0", None), (":scores", None), ("w", None)],
)
def test_only_the_suffixes_of_the_table_make_an_auxiliary_tensor(name: str, suffix: str | None) -> None:
    assert auxiliary_suffix(name) == suffix
