"""Auxiliary tensors: the table, and which names belong to it."""

import pytest

from pruning_engine.checkpoints.auxiliary_tensors import AUXILIARY_TENSORS, auxiliary_suffix
from pruning_engine.scores.table import SCORES
from pruning_proto.names import AUXILIARY, MASK_BITS


def test_table_has_every_suffix_of_the_contract() -> None:
    assert set(AUXILIARY_TENSORS) == set(AUXILIARY)


def test_each_auxiliary_tensor_has_a_user() -> None:
    used = {suffix for score in SCORES.values() for suffix in score.auxiliary}
    assert used | {MASK_BITS} == set(AUXILIARY_TENSORS)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("w:scores", ":scores"), ("w:mask_bits", ":mask_bits"), ("kernel:0", None), (":scores", None), ("w", None)],
)
def test_only_the_suffixes_of_the_table_make_an_auxiliary_tensor(name: str, suffix: str | None) -> None:
    assert auxiliary_suffix(name) == suffix
