"""Random scores are what docs/random.md defines, on every backend."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pruning_engine import prune_state_dict
from pruning_engine.kernels.cpu.keys import RandomKeys
from pruning_engine.kernels.cuda.keys import RandomKeys as TorchRandomKeys
from pruning_engine.kernels.random_keys import key_of, score
from pruning_engine.recipe import Count, Random, Rule
from tests.engine.rules import recipe

TABLE = Path(__file__).parents[3] / "docs" / "random.md"
GOLDEN = [
    [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
    for line in TABLE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and "`" in line
]


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row[2])
def test_golden_values(row: list[str]) -> None:
    key = key_of(int(row[0]), int(row[1]), row[2])
    assert [f"{number:016x}" for number in (key, score(key, 0), score(key, 1), score(key, 2**32))] == row[3:]


def test_there_are_golden_values() -> None:
    assert len(GOLDEN) == 3


def test_both_backends_give_the_defined_scores() -> None:
    expected = [score(2**63 + 5, index) for index in range(8, 40)]
    assert RandomKeys(2**63 + 5).read(8, 40).tolist() == expected
    device_keys = TorchRandomKeys(2**63 + 5, torch.device("cpu")).read(8, 40)
    assert (device_keys.numpy().view(np.uint64) ^ np.uint64(2**63)).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_the_mask_does_not_hang_on_the_dtype(dtype: torch.dtype) -> None:
    rule = Rule(score=Random(), amount=Count(4))
    bits = prune_state_dict({"weight": torch.ones(2, 4, dtype=dtype)}, recipe(rule, seed=42), output="mask").state_dict
    least = sorted(range(8), key=lambda index: score(key_of(42, 0, "weight"), index))[:4]
    assert bits["weight:mask_bits"].tolist() == [255 - sum(1 << index for index in least)]  # type: ignore[attr-defined]


def test_another_rule_and_another_name_draw_other_scores() -> None:
    assert len({key_of(1, 0, "a"), key_of(1, 1, "a"), key_of(1, 0, "b"), key_of(2, 0, "a")}) == 4
