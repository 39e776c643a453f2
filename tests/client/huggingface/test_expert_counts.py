"""Routers that would choose more experts than are left."""

import pytest

from pruning_client.errors import MismatchError
from pruning_client.huggingface.experts.counts import check_experts


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ({"num_local_experts": 2, "num_experts_per_tok": 3}, r"2 experts are left \(num_local_experts\).* takes 3"),
        ({"num_experts": 1, "moe_topk": 2}, "keep at least 2, or lower moe_topk"),
        ({"n_routed_experts": 6, "num_experts_per_tok": 2, "n_group": 4}, r"not 4 groups of equal size \(n_group\)"),
    ],
)
def test_too_few_experts_are_refused(part: dict[str, int], wrong: str) -> None:
    with pytest.raises(MismatchError, match=wrong):
        check_experts(part)


@pytest.mark.parametrize(
    "part", [{}, {"num_experts_per_tok": 3}, {"num_experts": 3, "num_experts_per_tok": 3}, {"num_experts": None}]
)
def test_enough_experts_pass(part: dict[str, int]) -> None:
    check_experts(part)
