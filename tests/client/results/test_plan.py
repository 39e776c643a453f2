"""What a plan says of tensors that no rule selects."""

from pruning_client.results.plan import plan_of
from pruning_proto.v1 import pruning_pb2 as pb


def test_tensors_that_are_removed_are_not_among_those_left_alone() -> None:
    kept, gone = pb.TensorPlan(name="a", shape=[2]), pb.TensorPlan(name="b", shape=[3], removed=True)
    plan = plan_of([pb.Plan(tensors=[kept, gone], last=True)])
    assert [tensor.name for tensor in plan.largest_not_selected] == ["a"]
