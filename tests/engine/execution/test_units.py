"""Which units of tied channels fall: by what importance, how many, among whom."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruning_engine.kernels.channel_norms import exact_sums
from pruning_engine.recipe import (
    Amount,
    ChannelSlice,
    Count,
    Dead,
    Fraction,
    ImportanceScores,
    Magnitude,
    Prior,
    Random,
    Rule,
    Scope,
    Sparsity,
    Units,
)
from tests.engine.packed import pack
from tests.engine.rules import l1
from tests.engine.tied import MLP, ONE, Tensors, group, kept, mlp, prune_with, units

INF = float("inf")


def test_units_of_least_norm_are_pruned_in_every_coupled_tensor() -> None:
    state_dict = mlp(3, 1, 4, 2)
    result = prune_with(state_dict, units(MLP))
    assert result.report.groups[0].kept == (0, 2)
    assert torch.equal(result.state_dict["up.bias"], torch.tensor([1.0, 0, 1, 0]))  # type: ignore[arg-type]


def test_a_unit_is_worth_all_its_scored_entries_together() -> None:
    state_dict = mlp(3, 3, 3) | {"down.weight": torch.tensor([[0.0, 2, 1], [0, 0, 0]])}
    assert kept(state_dict, units(MLP, amount=ONE)) == [(1, 2)]


def test_tensors_of_one_dim_do_not_count_unless_a_tie_says_so() -> None:
    state_dict = mlp(1, 2) | {"up.bias": torch.tensor([9.0, 0])}
    counting = group("up.weight:0", ChannelSlice("up.bias", scored=True), "down.weight:1")
    assert kept(state_dict, units(MLP, amount=ONE)) == [(1,)]
    assert kept(state_dict, units(counting, amount=ONE)) == [(0,)]


def test_a_tie_that_is_not_scored_does_not_count() -> None:
    state_dict = mlp(1, 2) | {"down.weight": torch.tensor([[9.0, 0], [0, 0]])}
    not_down = group("up.weight:0", ChannelSlice("down.weight", 1, scored=False))
    assert kept(state_dict, units(not_down, amount=ONE)) == [(1,)]


@pytest.mark.parametrize(("norm", "stays"), [(1.0, 1), (INF, 0), (-INF, 1), (0.0, 1), (2.0, 0), (0.5, 1), (3.7, 0)])
def test_the_norm_decides(norm: float, stays: int) -> None:
    weights = {"up.weight": torch.tensor([[4.0, 0, 0], [2, 2, 1]]), "down.weight": torch.zeros(0, 2)}
    rule = units(group("up.weight:0", "down.weight:1"), amount=ONE, score=Magnitude(norm))
    assert kept(weights, rule) == [(stays,)]


def test_equal_units_are_pruned_from_the_first() -> None:
    assert kept(mlp(1, 1, 1, 1), units(MLP)) == [(2, 3)]


def test_equal_units_of_several_groups_are_pruned_by_group_name() -> None:
    state_dict = mlp(1, 1, name="b") | mlp(1, 1, name="a")
    rule = units(group("up.weight:0", "down.weight:1", for_each="*"), amount=ONE, scope=Scope.GLOBAL)
    assert kept(state_dict, rule) == [(1,), (0, 1)]


@pytest.mark.parametrize(
    ("amount", "left"),
    [(Fraction(0.25), 3), (Fraction(0.375), 2), (Count(3), 1), (Sparsity(0.5), 2), (Fraction(0.0), 4)],
    ids=["fraction", "halves to even", "count", "sparsity", "nothing"],
)
def test_requested_number_of_units_is_pruned(amount: Amount, left: int) -> None:
    assert len(kept(mlp(1, 2, 3, 4), units(MLP, amount=amount))[0]) == left


@pytest.mark.parametrize("amount", [Fraction(1.0), Count(4), Sparsity(1.0)], ids=["fraction", "count", "sparsity"])
def test_one_unit_stays_whatever_is_asked(amount: Amount) -> None:
    assert kept(mlp(1, 4, 3, 2), units(MLP, amount=amount)) == [(1,)]


@pytest.mark.parametrize(("round_to", "left"), [(1, 3), (2, 4), (4, 4), (8, 6)])
def test_the_number_kept_is_rounded_up_but_not_above_what_there_is(round_to: int, left: int) -> None:
    assert len(kept(mlp(1, 2, 3, 4, 5, 6), units(MLP, round_to=round_to))[0]) == left


def test_groups_of_local_scope_give_their_share_each() -> None:
    state_dict = mlp(1, 2, name="a") | mlp(3, 4, name="b")
    assert kept(state_dict, units(group("up.weight:0", "down.weight:1", for_each="*"))) == [(1,), (1,)]


def test_groups_of_global_scope_compete_by_the_mean_of_an_entry() -> None:
    wide = {"a.up.weight": torch.full((2, 8), 1.0), "a.down.weight": torch.full((8, 2), 1.0)}
    narrow = {"b.up.weight": torch.full((2, 1), 2.0), "b.down.weight": torch.full((1, 2), 2.0)}
    rule = units(group("up.weight:0", "down.weight:1", for_each="*"), amount=ONE, scope=Scope.GLOBAL)
    assert kept(wide | narrow, rule) == [(1,), (0, 1)]  # by their sums, 16 against 8, one of the narrow ones would fall


def test_global_scope_keeps_one_unit_of_each_group() -> None:
    state_dict = mlp(1, 2, name="a") | mlp(10, 20, 30, name="b")
    rule = units(group("up.weight:0", "down.weight:1", for_each="*"), amount=Count(3), scope=Scope.GLOBAL)
    assert kept(state_dict, rule) == [(1,), (2,)]


def test_groups_of_the_same_width_keep_as_many_as_the_widest() -> None:
    state_dict = mlp(1, 2, 3, 4, name="a") | mlp(10, 20, 30, 40, name="b")
    tied = group("up.weight:0", "down.weight:1", for_each="*")
    rule = units(tied, amount=Count(3), scope=Scope.GLOBAL, same_width=True)
    assert kept(state_dict, rule) == [(0, 1, 2, 3), (0, 1, 2, 3)]


def test_groups_counted_in_config_have_and_report_one_width() -> None:
    state_dict = mlp(1, 2, 3, 4, name="a") | mlp(10, 20, name="b")
    tied = group("up.weight:0", "down.weight:1", for_each="*", width=3)
    reports = prune_with(state_dict, units(tied)).report.groups
    assert [(report.kept, dict(report.config)) for report in reports] == [
        ((2, 3), {"width": 6}),
        ((0, 1), {"width": 6}),
    ]


def test_groups_without_a_prefix_are_named_by_their_first_tensor() -> None:
    assert prune_with(mlp(1, 2), units(MLP)).report.groups[0].name == "up.weight"


def test_a_prefix_is_matched_segment_by_segment() -> None:
    state_dict = mlp(1, 2, name="layers.0.mlp") | mlp(1, 2, name="layers.1.mlp") | mlp(1, 2, name="head.mlp")
    rule = units(group("up.weight:0", "down.weight:1", for_each="layers.*.mlp"))
    assert [each.name for each in prune_with(state_dict, rule).report.groups] == ["layers.0.mlp", "layers.1.mlp"]


def test_units_rank_by_given_scores() -> None:
    state_dict = mlp(1, 2) | {"up.weight:scores": torch.tensor([[5.0, 0], [1, 0]])}
    rule = units(
        group(ChannelSlice("up.weight"), ChannelSlice("down.weight", 1, scored=False)), score=ImportanceScores()
    )
    assert kept(state_dict, rule) == [(0,)]


def test_what_has_no_scores_falls_back_to_its_weights_where_the_rule_says_so() -> None:
    state_dict = mlp(1, 2) | {"down.weight:scores": torch.tensor([[3.0, 0], [0, 0]])}
    assert kept(state_dict, units(MLP, score=ImportanceScores(fall_back_to_weights=True))) == [(0,)]


def test_random_units_hang_on_seed_and_name_alone() -> None:
    rule = units(MLP, score=Random())
    assert kept(mlp(*range(64)), rule) == kept(mlp(*range(100, 164)), rule)
    assert kept(mlp(*range(64)), rule, rule)[0] != kept(mlp(*range(64)), rule, rule)[1]


def test_random_units_of_two_groups_of_one_name_are_not_the_same() -> None:
    state_dict = {f"block.{name}": torch.ones(64, 1) for name in ("up", "down")}
    both = [group(f"{name}:0", for_each="block") for name in ("up", "down")]
    first, second = kept(state_dict, units(*both, score=Random()))
    assert first != second


def test_dead_units_are_pruned_and_zero_row_with_bias_is_not_dead() -> None:
    state_dict = mlp(0, 0, 3) | {"up.bias": torch.tensor([0.0, 1, 0])}
    assert kept(state_dict, units(MLP, amount=None, score=Dead())) == [(1, 2)]


def test_running_statistics_keep_no_unit_from_being_dead() -> None:
    state_dict = mlp(0, 1) | {"up.bias": torch.zeros(2), "norm.running_mean": torch.ones(2)}
    tied = group("up.weight:0", "up.bias:0", "norm.running_mean:0", "down.weight:1")
    assert kept(state_dict, units(tied, amount=None, score=Dead())) == [(1,)]


def test_of_dead_units_alone_the_last_one_stays() -> None:
    assert kept(mlp(0, 0), units(group("up.weight:0", "down.weight:1"), amount=None, score=Dead())) == [(1,)]


def test_running_statistics_are_neither_scored_nor_zeroed() -> None:
    state_dict = {"conv.weight": torch.tensor([[1.0], [2.0]]), "norm.running_var": torch.tensor([9.0, 1.0])}
    result = prune_with(state_dict, units(group("conv.weight:0", "norm.running_var:0"), amount=ONE))
    assert result.report.groups[0].kept == (1,)
    assert result.state_dict["norm.running_var"] is state_dict["norm.running_var"]


def test_units_pruned_before_are_no_candidates_but_stay_if_the_number_is_rounded_up() -> None:
    mask = torch.tensor([[True, True], [False, False], [True, True], [True, True]])
    state_dict = {"up.weight": mlp(9, 8, 1, 2)["up.weight"], "up.weight:mask_bits": pack(mask)}
    one = group("up.weight:0")
    assert kept(state_dict, units(one, amount=ONE)) == [(0, 3)]
    assert kept(state_dict, units(one, amount=Count(0), round_to=4)) == [(0, 1, 2, 3)]


def test_pruned_entries_count_as_zero() -> None:
    mask = torch.tensor([[False, True], [True, True]])
    state_dict = {"up.weight": torch.tensor([[9.0, 1], [2, 2]]), "up.weight:mask_bits": pack(mask)}
    assert kept(state_dict, units(group("up.weight:0"), amount=ONE)) == [(1,)]


def test_zeros_count_as_pruned_where_the_rule_says_so() -> None:
    rule = units(group("up.weight:0"), amount=Fraction(0.5))
    zeros = Rule(score=rule.score, amount=rule.amount, granularity=rule.granularity, prior=Prior.ZEROS)
    assert kept(mlp(0, 0, 1, 2), rule) == [(2, 3)]
    assert kept(mlp(0, 0, 1, 2), zeros) == [(3,)]


def test_an_earlier_rule_does_not_change_what_a_unit_is_worth() -> None:
    state_dict = {"up.weight": torch.tensor([[3.0, 3, 3], [4, 0, 0]])}
    earlier = l1(Count(4), "up.weight")  # which leaves 3 and 4
    assert kept(state_dict, earlier, units(group("up.weight:0"), amount=ONE)) == [(0,)]


def test_dead_units_first_then_a_part_of_the_others() -> None:
    state_dict = {"up.weight": mlp(0, 3, 1, 2, 4)["up.weight"]}
    one = group("up.weight:0")
    dead, half = units(one, amount=None, score=Dead()), units(one, amount=Fraction(0.5))
    assert kept(state_dict, dead, half) == [(1, 2, 3, 4), (1, 4)]


def test_threshold_is_the_largest_pruned_norm() -> None:
    report = prune_with(mlp(3, 1, 4, 2), units(MLP)).report
    assert {tensor.threshold for tensor in report.tensors} == {2.0}


def test_units_whose_sums_differ_in_the_last_bit_are_distinguished() -> None:
    large = torch.full((2, 1), 2.0**53, dtype=torch.float64)
    small = torch.tensor([[1.0], [0.0]], dtype=torch.float64)  # lost when one is added, but not when both are
    state_dict = {"a": large, "b": small, "c": small.clone()}
    assert kept(state_dict, units(group("a:0", "b:0", "c:0"), amount=ONE, score=Magnitude(1.0))) == [(0,)]


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.0 + 2.0**-20]), min_size=12, max_size=48), st.integers(0, 12))
def test_the_choice_is_that_of_exact_sums(values: list[float], count: int) -> None:
    width = len(values) // 12
    weight = torch.tensor(values[: 12 * width], dtype=torch.float32).reshape(6, 2 * width)
    state_dict = {"a": weight[:, :width], "b": weight[:, width:].T.contiguous()}
    sums = exact_sums(weight.abs().to(torch.float64).numpy().copy(), 2.0)
    order = sorted(range(6), key=lambda unit: (sums[unit], unit))
    expected = tuple(sorted(order[min(count, 6) :] or order[-1:]))
    assert kept(state_dict, units(group("a:0", "b:1"), amount=Count(min(count, 6)))) == [expected]


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=4),
    st.integers(0, 24),
    st.integers(1, 4),
    st.booleans(),
)
def test_in_global_scope_the_choice_is_that_of_a_slow_reading_of_the_rules(
    values: list[list[int]], count: int, round_to: int, same_width: bool
) -> None:
    state_dict = {f"{at}.w": torch.tensor(group, dtype=torch.float32).reshape(-1, 1) for at, group in enumerate(values)}
    ranked = sorted((value, at, unit) for at, group in enumerate(values) for unit, value in enumerate(group))
    best = {at: max((value, unit) for value, here, unit in ranked if here == at)[1] for at in range(len(values))}
    count = min(count, len(ranked))
    fallen = [(at, unit) for _, at, unit in ranked if best[at] != unit][:count]
    widths = [len(group) - sum(here == at for here, _ in fallen) for at, group in enumerate(values)]
    widths = [max(widths)] * len(widths) if same_width else widths
    widths = [min(-(-width // round_to) * round_to, len(group)) for width, group in zip(widths, values, strict=True)]
    expected = [
        tuple(sorted([unit for _, here, unit in ranked if here == at][-widths[at] :])) for at in range(len(values))
    ]
    asked = units(
        group("w:0", for_each="*"), amount=Count(count), scope=Scope.GLOBAL, round_to=round_to, same_width=same_width
    )
    assert kept(state_dict, asked) == expected


def test_a_map_and_groups_go_together() -> None:
    ffn: Tensors = {
        "layer.intermediate.dense.weight": torch.randn(4, 2),
        "layer.output.dense.weight": torch.randn(2, 4),
    }
    names = [each.name for each in prune_with(ffn | mlp(1, 2), units(MLP, map="bert_ffn")).report.groups]
    assert names == ["layer", "up.weight"]


def test_units_are_a_value_like_other_granularities() -> None:
    assert hash(units(MLP)) == hash(units(MLP))
    assert Units(groups=(MLP,)) == Units(groups=(MLP,))
