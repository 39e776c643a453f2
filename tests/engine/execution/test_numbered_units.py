"""Units that own whole tensors, ranked with output format REPORT."""

import pytest
import torch

from pruning_engine import MismatchError, OutputForm, PruningError
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.granularities.channel_groups import ChannelSlice
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import Dead, Kept, Magnitude, Random, Recipe, RouterMagnitude, Rule, Score, check
from tests.engine.tied import Tensors, group, prune_with, units


def experts(*norms: float) -> Tensors:
    """Return a router of one row for each expert, and one weight for each, of these norms."""
    tensors = {f"experts.{number}.w1.weight": torch.full((2, 2), norm / 2) for number, norm in enumerate(norms)}
    rows = torch.tensor([[float(number), -1.0] for number in range(len(norms))])
    return {"gate.weight": rows.flip(0), **tensors}


NUMBERED = ChannelSlice("experts.{unit}.*")
MOE = group(ChannelSlice("gate.weight", scored=True), NUMBERED)
EXPERTS = group(ChannelSlice("gate.weight", scored=False), NUMBERED)


def ranked(tensors: Tensors, rule: Rule) -> tuple[int, ...]:
    """Return the units that are kept."""
    return prune_with(tensors, rule, output="report").report.groups[0].kept


def test_numbered_tensors_rank_by_their_norms() -> None:
    assert ranked(experts(3, 1, 4, 2), units(EXPERTS, amount=Kept(2))) == (0, 2)


def test_all_tensors_of_a_unit_count() -> None:
    tensors = experts(3, 1, 2) | {"experts.1.w2.weight": torch.full((1, 4), 5.0)}
    assert ranked(tensors, units(EXPERTS, amount=Kept(1))) == (1,)


def test_router_magnitude_ranks_by_the_row_alone() -> None:
    assert ranked(experts(3, 1, 4, 2), units(MOE, amount=Kept(2), score=RouterMagnitude())) == (0, 1)


def test_the_report_names_what_was_scored() -> None:
    (found,) = prune_with(experts(3, 1), units(EXPERTS, amount=Kept(1)), output="report").report.groups
    assert found.scored == ("experts.{unit}.*",)
    (listed,) = prune_with(experts(3, 1), units(EXPERTS, amount=Kept(1), score=Random()), output="report").report.groups
    assert listed.scored == ()
    assert found.tensors == ("experts.{unit}.*", "gate.weight")


def test_equal_units_are_pruned_from_the_first() -> None:
    assert ranked(experts(1, 1, 1, 1), units(EXPERTS, amount=Kept(2))) == (2, 3)


@pytest.mark.parametrize("score", [Magnitude(), RouterMagnitude()], ids=lambda score: score.field)
def test_removal_of_numbered_tensors_needs_a_list(score: Score) -> None:
    with pytest.raises(MismatchError, match="output format REPORT"):
        prune_with(experts(1, 2), units(MOE, amount=Kept(1), score=score), output="removed")


def test_numbered_tensors_are_not_zeroed() -> None:
    with pytest.raises(PruningError, match="ask for REMOVED"):
        prune_with(experts(1, 2), units(EXPERTS, amount=Kept(1)), output="pruned")


def test_scores_that_do_not_rank_tensors_are_refused() -> None:
    with pytest.raises(MismatchError, match="dead cannot rank"):
        prune_with(experts(1, 2), units(EXPERTS, amount=None, score=Dead()), output="report")


def test_a_gap_is_refused_by_name() -> None:
    tensors = experts(1, 2, 3)
    del tensors["experts.1.w1.weight"]
    with pytest.raises(MismatchError, match=r"no tensor 'experts\.1\.\*'"):
        prune_with(tensors, units(EXPERTS, amount=Kept(1)), output="report")


def test_a_tensor_without_a_tie_is_refused_by_name() -> None:
    tensors = experts(1, 2) | {"experts.1.bias": torch.zeros(2)}
    partial = group(ChannelSlice("gate.weight"), ChannelSlice("experts.{unit}.w1.weight"))
    with pytest.raises(MismatchError, match=r"'experts\.1\.bias'"):
        prune_with(tensors, units(partial, amount=Kept(1)), output="report")


def test_other_slices_have_as_many_units() -> None:
    with pytest.raises(MismatchError, match=r"gate\.weight"):
        prune_with(experts(1, 2, 3) | {"gate.weight": torch.ones(2, 2)}, units(MOE, amount=Kept(1)), output="report")


@pytest.mark.parametrize(
    "tie",
    [
        ChannelSlice("experts.{unit}.{unit}.weight"),
        ChannelSlice("experts.x{unit}.weight"),
        ChannelSlice("experts.{unit}.*.weight"),
        ChannelSlice("experts.{unit}.weight", dim=1),
        ChannelSlice("experts.{unit}.weight", inner=2),
        ChannelSlice("experts.{unit}."),
    ],
    ids=["twice", "part of a segment", "star inside", "dim", "inner", "empty segment"],
)
def test_invalid_numbered_ties_are_refused(tie: ChannelSlice) -> None:
    with pytest.raises(PruningError, match=r"ties\[0\]"):
        check(Recipe((units(group(tie)),)))


def test_fp8_experts_rank_by_code_times_scale() -> None:
    tensors: Tensors = {}
    for number, scale in enumerate((1.0, 4.0, 2.0)):
        tensors[f"experts.{number}.w.weight"] = torch.ones(2, 2).to(torch.float8_e4m3fn)
        tensors[f"experts.{number}.w.weight_scale_inv"] = torch.tensor([[scale]])
    assert ranked(tensors, units(group(NUMBERED), amount=Kept(2))) == (1, 2)


def test_quantized_experts_rank_by_their_router() -> None:
    tensors = {"gate.weight": torch.tensor([[1.0], [3.0], [2.0]])}
    for number in range(3):
        tensors[f"experts.{number}.w.qweight"] = torch.ones(2, 2, dtype=torch.int32)
        tensors[f"experts.{number}.w.scales"] = torch.ones(2, 2)
    assert ranked(tensors, units(MOE, amount=Kept(2), score=RouterMagnitude())) == (1, 2)


def test_stacked_experts_are_ranked_and_removed_in_one_call() -> None:
    tensors = {"gate.weight": torch.tensor([[1.0], [3.0], [2.0]]), "experts": torch.arange(6.0).reshape(3, 2, 1)}
    asked = group(ChannelSlice("gate.weight", scored=True), ChannelSlice("experts"))
    result = prune_with(tensors, units(asked, amount=Kept(2), score=RouterMagnitude()), output="removed")
    assert result.state_dict["experts"].tolist() == [[[2.0], [3.0]], [[4.0], [5.0]]]  # type: ignore[attr-defined]


def test_layers_of_one_width_are_ranked_one_by_one() -> None:
    tensors = {f"{block}.{name}": tensor for block in "ab" for name, tensor in experts(1, 3, 2).items()}
    specs = [TensorSpec(name, "F32", tuple(tensor.shape)) for name, tensor in tensors.items()]
    asked = group(*EXPERTS.ties, for_each="*", num_experts=1)
    plan = make_plan(Recipe((units(asked, amount=Kept(2)),), 0), specs, output=OutputForm.REPORT)
    assert [len(stage.groups) for stage in plan.stages] == [1, 1]
