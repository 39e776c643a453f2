"""Options of a plan: what does not go with the output format is refused by its path."""

import math

import pytest

from pruning_proto.formats import SCAN
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.messages.plan_options import plan_options_of
from pruning_service.status import Refusal


def test_sparsities_of_a_scan_are_taken() -> None:
    assert plan_options_of(pb.PruneOptions(scan_sparsities=[0.5, 0.25]), SCAN).scan_sparsities == (0.5, 0.25)


@pytest.mark.parametrize("sparsity", [0.0, 1.0, math.nan])
def test_sparsity_of_a_scan_is_between_0_and_1(sparsity: float) -> None:
    with pytest.raises(Refusal) as refused:
        plan_options_of(pb.PruneOptions(scan_sparsities=[0.5, sparsity]), SCAN)
    assert [violation.field for violation in refused.value.violations] == ["scan_sparsities[1]"]
