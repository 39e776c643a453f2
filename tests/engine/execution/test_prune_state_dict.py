"""The state-dict face: what comes back in each form, and that what was given stays as it was."""

from typing import Any

import pytest
import torch

from pruning_engine import MismatchError, OutputForm, PlanOptions, Reason, prune_state_dict, prune_state_dict_
from pruning_engine.recipe import (
    Count,
    CustomMask,
    Fraction,
    Identity,
    Prior,
    Random,
    Recipe,
    Rule,
    Scope,
    Selector,
    Sparsity,
    WeightedMagnitude,
)
from tests.engine.packed import pack, unpack
from tests.engine.rules import l1, ln, recipe

WEIGHT = torch.tensor([[1.0, -4.0, 2.0], [3.0, -0.5, 6.0]])


def pruned(weight: torch.Tensor, *rules: Rule, **companions: torch.Tensor) -> torch.Tensor:
    state_dict = {"weight": weight} | {f"weight:{suffix}": tensor for suffix, tensor in companions.items()}
    result = prune_state_dict(state_dict, recipe(*rules)).state_dict["weight"]
    assert isinstance(result, torch.Tensor)
    return result


def test_smallest_half_is_pruned() -> None:
    assert torch.equal(pruned(WEIGHT, l1()), torch.tensor([[0.0, -4.0, 0.0], [3.0, 0.0, 6.0]]))


def test_pruned_entries_are_positive_zero() -> None:
    assert not pruned(WEIGHT, l1(Fraction(1.0))).signbit().any()


def test_kept_negative_zero_stays() -> None:
    assert pruned(torch.tensor([[-0.0, 1.0]]), l1(Count(0))).signbit().tolist() == [[True, False]]


def test_count_is_exact_among_equals_and_first_are_pruned() -> None:
    assert pruned(torch.ones(2, 3), l1(Count(2))).tolist() == [[0, 0, 1], [1, 1, 1]]


@pytest.mark.parametrize(("fraction", "fallen"), [(0.25, 2), (0.15, 2), (0.05, 0), (0.35, 4)])
def test_halves_round_to_even(fraction: float, fallen: int) -> None:
    result = pruned(torch.arange(1.0, 11.0).view(2, 5), l1(Fraction(fraction)))
    assert int((result == 0).sum()) == fallen == round(fraction * 10)


def test_infinity_is_the_largest_magnitude() -> None:
    weight = torch.tensor([[torch.inf, 1.0, -torch.inf, 2.0]])
    assert pruned(weight, l1()).tolist() == [[torch.inf, 0.0, -torch.inf, 0.0]]


def test_sparsity_counts_what_is_pruned_already() -> None:
    bits = pack(torch.tensor([[0, 1, 1], [1, 1, 1]], dtype=torch.bool))
    assert pruned(WEIGHT, l1(Sparsity(0.5)), mask_bits=bits).tolist() == [[0, -4, 0], [3, 0, 6]]


def test_sparsity_that_is_reached_prunes_nothing_more() -> None:
    bits = pack(torch.tensor([[0, 0, 0], [1, 0, 1]], dtype=torch.bool))
    assert pruned(WEIGHT, l1(Sparsity(0.1)), mask_bits=bits).tolist() == [[0, 0, 0], [3, 0, 6]]


def test_a_fraction_is_of_what_is_unpruned() -> None:
    bits = pack(torch.tensor([[1, 0, 0], [1, 0, 0]], dtype=torch.bool))
    assert pruned(WEIGHT, l1(), mask_bits=bits).tolist() == [[0, 0, 0], [3, 0, 0]]


def test_zeros_count_as_pruned_where_a_rule_says_so() -> None:
    rule = Rule(score=l1().score, amount=Fraction(0.5), prior=Prior.ZEROS)
    assert pruned(torch.tensor([[0.0, -0.0, 1.0, 2.0]]), rule).tolist() == [[0, 0, 0, 2]]


def test_zeros_are_ordinary_entries_otherwise() -> None:
    assert pruned(torch.tensor([[0.0, -0.0, 1.0, 2.0]]), l1()).tolist() == [[0, 0, 1, 2]]


def test_rules_act_in_order_on_what_is_left() -> None:
    assert pruned(WEIGHT, l1(Count(1)), l1(Count(2))).tolist() == [[0, -4, 0], [3, 0, 6]]


def test_a_custom_mask_prunes_what_it_marks_zero() -> None:
    mask = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    assert torch.equal(pruned(WEIGHT, Rule(score=CustomMask()), mask=mask), WEIGHT * mask)


def test_identity_prunes_nothing_but_gives_a_mask() -> None:
    result = prune_state_dict({"weight": WEIGHT}, recipe(Rule(score=Identity())), output="masked")
    assert torch.equal(result.state_dict["weight_mask"], torch.ones(2, 3, dtype=torch.bool))  # type: ignore[arg-type]


def test_whole_channels_are_pruned() -> None:
    assert pruned(WEIGHT, ln(1.0)).tolist() == [[0, 0, 0], [3, -0.5, 6]]


def test_channels_count_along_negative_dims_too() -> None:
    assert pruned(WEIGHT, ln(1.0, dim=-1, amount=Count(1))).tolist() == [[0, -4, 2], [0, -0.5, 6]]


def test_pruned_channel_is_not_a_candidate() -> None:
    bits = pack(torch.tensor([[0, 0, 0], [1, 1, 1], [1, 1, 1]], dtype=torch.bool))
    result = pruned(torch.tensor([[9.0] * 3, [1.0] * 3, [2.0] * 3]), ln(2.0, amount=Count(1)), mask_bits=bits)
    assert result.tolist() == [[0, 0, 0], [0, 0, 0], [2, 2, 2]]


def test_the_norm_of_a_channel_is_over_what_is_not_pruned() -> None:
    bits = pack(torch.tensor([[0, 1], [1, 1]], dtype=torch.bool))
    result = pruned(torch.tensor([[9.0, 1.0], [2.0, 2.0]]), ln(2.0), mask_bits=bits)
    assert result.tolist() == [[0, 0], [2, 2]]


def test_global_scope_shares_one_amount() -> None:
    state_dict = {"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([[3.0, 4.0]])}
    result = prune_state_dict(state_dict, recipe(l1(Fraction(0.5), "*", scope=Scope.GLOBAL)))
    assert torch.equal(result.state_dict["a"], torch.zeros(1, 2))  # type: ignore[arg-type]
    assert result.state_dict["b"] is not state_dict["b"]


def test_equal_scores_are_pruned_by_tensor_name_in_any_order() -> None:
    state_dict = {"b": torch.ones(1, 2), "a": torch.ones(1, 2)}
    result = prune_state_dict(state_dict, recipe(l1(Count(3), "*", scope=Scope.GLOBAL)))
    assert torch.equal(result.state_dict["a"], torch.zeros(1, 2))  # type: ignore[arg-type]
    assert torch.equal(result.state_dict["b"], torch.tensor([[0.0, 1.0]]))  # type: ignore[arg-type]


def test_tensors_of_several_dtypes_compete_by_value() -> None:
    state_dict = {
        "a": torch.tensor([[1.0, 4.0]], dtype=torch.float16),
        "b": torch.tensor([[2.0, 3.0]], dtype=torch.float64),
        "c": torch.tensor([[-5, 0]], dtype=torch.int8),
    }
    result = prune_state_dict(state_dict, recipe(l1(Count(3), "a", "b", "c", scope=Scope.GLOBAL)))
    assert [value.tolist() for value in result.state_dict.values()] == [  # type: ignore[attr-defined]
        [[0, 4]],
        [[0, 3]],
        [[-5, 0]],
    ]


def test_the_least_integer_has_the_largest_magnitude() -> None:
    weight = torch.tensor([[-128, 127, 5, -3]], dtype=torch.int8)
    result = prune_state_dict({"w": weight}, recipe(l1(Count(3), "w")))
    assert torch.equal(result.state_dict["w"], torch.tensor([[-128, 0, 0, 0]], dtype=torch.int8))  # type: ignore[arg-type]


def test_format_mask_returns_only_bits_of_selected_tensors() -> None:
    result = prune_state_dict({"weight": WEIGHT, "bias": torch.ones(2)}, recipe(l1()), output=OutputForm.MASK)
    assert list(result.state_dict) == ["weight:mask_bits"]
    assert result.state_dict["weight:mask_bits"].tolist() == [0b101010]  # type: ignore[attr-defined]


def test_bits_that_come_out_go_in_as_the_prior_mask() -> None:
    first = prune_state_dict({"weight": WEIGHT}, recipe(l1()), output="mask").state_dict
    second = prune_state_dict({"weight": WEIGHT, **first}, recipe(Rule(score=Identity())), output="mask")
    assert torch.equal(second.state_dict["weight:mask_bits"], first["weight:mask_bits"])  # type: ignore[arg-type]


def test_format_masked_keeps_all_weights() -> None:
    state_dict = prune_state_dict({"weight": WEIGHT}, recipe(l1()), output="masked").state_dict
    assert list(state_dict) == ["weight_orig", "weight_mask"]
    assert torch.equal(state_dict["weight_orig"], WEIGHT)  # type: ignore[arg-type]


def test_a_masked_pair_is_pruned_further_and_folded() -> None:
    pair = {"l.weight_orig": WEIGHT, "l.weight_mask": torch.tensor([[0.0, 1, 1], [1, 1, 1]])}
    result = prune_state_dict(pair, recipe(l1(Fraction(0.4)))).state_dict
    assert list(result) == ["l.weight"]
    assert result["l.weight"].tolist() == [[0, -4, 0], [3, 0, 6]]  # type: ignore[attr-defined]


def test_unselected_pair_is_folded_in_format_pruned() -> None:
    pair = {"bias_orig": torch.tensor([1.0, 2.0]), "bias_mask": torch.tensor([True, False]), "weight": WEIGHT}
    result = prune_state_dict(pair, recipe(l1())).state_dict
    assert torch.equal(result["bias"], torch.tensor([1.0, 0.0]))  # type: ignore[arg-type]


def test_unselected_pair_passes_in_format_masked() -> None:
    pair = {"bias_orig": torch.tensor([1.0, 2.0]), "bias_mask": torch.tensor([True, False]), "weight": WEIGHT}
    result = prune_state_dict(pair, recipe(l1()), output="masked").state_dict
    assert result["bias_orig"] is pair["bias_orig"]
    assert result["bias_mask"] is pair["bias_mask"]


def test_unselected_values_pass_as_the_same_objects() -> None:
    state_dict = {"bias": torch.ones(2), "weight": WEIGHT, "_extra_state": {"step": 3}}
    result = prune_state_dict(state_dict, recipe(l1())).state_dict
    assert list(result) == list(state_dict)
    assert result["bias"] is state_dict["bias"]
    assert result["_extra_state"] is state_dict["_extra_state"]


def test_format_report_returns_no_tensors() -> None:
    result = prune_state_dict({"weight": WEIGHT}, recipe(l1()), output="report")
    assert result.state_dict == {}
    assert result.report.pruned == 3


@pytest.mark.parametrize("output", [form for form in OutputForm if form not in (OutputForm.REMOVED, OutputForm.SCAN)])
def test_the_input_stays_as_it_is(output: OutputForm) -> None:
    state_dict = {"weight": WEIGHT.clone(), "weight:mask_bits": torch.tensor([0b111011], dtype=torch.uint8)}
    prune_state_dict(state_dict, recipe(l1(), ln(2.0)), output=output)
    assert torch.equal(state_dict["weight"], WEIGHT)
    assert state_dict["weight:mask_bits"].tolist() == [0b111011]


def test_in_place_the_own_memory_is_pruned() -> None:
    state_dict = {"weight": WEIGHT.clone(), "other.weight": WEIGHT.t().clone().t()}
    result = prune_state_dict_(state_dict, recipe(l1()))
    assert result.state_dict["weight"] is state_dict["weight"]
    assert torch.equal(state_dict["weight"], pruned(WEIGHT, l1()))
    assert torch.equal(state_dict["other.weight"], pruned(WEIGHT, l1()))


def test_an_expanded_tensor_is_not_pruned_in_place() -> None:
    row = torch.tensor([[1.0, -3.0, 2.0]])
    with pytest.raises(RuntimeError, match=r"shape \[2, 3\] that is expanded.*copy it first"):
        prune_state_dict_({"weight": row.expand(2, 3)}, recipe(l1()))
    assert row.tolist() == [[1.0, -3.0, 2.0]]


def test_tied_tensors_are_counted_and_pruned_once_and_tied_again() -> None:
    tied = WEIGHT.clone()
    result = prune_state_dict({"a.weight": tied, "b.weight": tied}, recipe(l1()))
    assert [tensor.name for tensor in result.report.tensors] == ["a.weight"]
    assert result.state_dict["a.weight"] is result.state_dict["b.weight"]


def test_tied_pairs_are_tied_again_in_masked_form() -> None:
    mask = torch.ones(2, 3)
    pairs = {"a.weight_orig": WEIGHT, "a.weight_mask": mask, "b.weight_orig": WEIGHT, "b.weight_mask": mask}
    result = prune_state_dict(pairs, recipe(l1()), output="masked").state_dict
    assert sorted(result) == sorted(pairs)
    assert result["b.weight_mask"] is result["a.weight_mask"]


def test_one_weight_under_two_masks_is_two_parameters() -> None:
    pairs = {
        "a.weight_orig": WEIGHT,
        "a.weight_mask": torch.ones(2, 3),
        "b.weight_orig": WEIGHT,
        "b.weight_mask": torch.tensor([[0.0] * 3, [1.0] * 3]),
    }
    report = prune_state_dict(pairs, recipe(l1())).report
    assert [tensor.pruned_before for tensor in report.tensors] == [0, 3]


def test_exclude_of_any_name_of_shared_tensor_wins() -> None:
    rule = Rule(score=l1().score, amount=Fraction(0.5), select=Selector(exclude=("head.*",)))
    state_dict = {"a.weight": WEIGHT, "head.weight": WEIGHT, "b.weight": WEIGHT.clone()}
    assert [tensor.name for tensor in prune_state_dict(state_dict, recipe(rule)).report.tensors] == ["b.weight"]


def test_channels_last_tensors_are_pruned_in_logical_order() -> None:
    weight = torch.arange(1.0, 25.0).view(2, 3, 2, 2)
    result = pruned(weight.contiguous(memory_format=torch.channels_last), l1())
    assert torch.equal(result, pruned(weight, l1()))
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (1, 1)], ids=str)
def test_a_tensor_of_any_shape_can_be_named(shape: tuple[int, ...]) -> None:
    result = prune_state_dict({"w": torch.ones(shape)}, recipe(l1(Fraction(1.0), "w")), output="mask")
    assert not unpack(result.state_dict["w:mask_bits"], torch.ones(shape)).any()


def test_parameters_that_require_gradients_leave_detached() -> None:
    result = prune_state_dict({"weight": torch.nn.Parameter(WEIGHT)}, recipe(l1())).state_dict["weight"]
    assert isinstance(result, torch.Tensor)
    assert not result.requires_grad


def test_torch_manual_seed_governs_a_seed_that_is_not_given() -> None:
    rules = (Rule(score=Random(), amount=Fraction(0.5)),)
    torch.manual_seed(3)
    first = prune_state_dict({"weight": WEIGHT}, Recipe(rules)).report.seed
    torch.manual_seed(3)

    assert prune_state_dict({"weight": WEIGHT}, Recipe(rules)).report.seed == first
    assert prune_state_dict({"weight": WEIGHT}, Recipe(rules)).report.seed != first


def test_without_chance_torchs_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    prune_state_dict({"weight": WEIGHT}, Recipe((l1(),)))

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("entries", [8, 13])
def test_a_mask_of_what_nothing_was_pruned_of_is_all_ones(entries: int) -> None:
    rule = Rule(score=Identity(), select=Selector(("a",)))
    state_dict = {"a": torch.randn(entries)}
    bits = prune_state_dict(state_dict, recipe(rule), output=OutputForm.MASK).state_dict["a:mask_bits"]
    masked = prune_state_dict(state_dict, recipe(rule), output=OutputForm.MASKED).state_dict["a_mask"]

    assert isinstance(bits, torch.Tensor) and isinstance(masked, torch.Tensor)  # noqa: PT018 - for mypy
    assert bits.tolist() == [0xFF, 0xFF][: entries // 8] + [0b11111] * (entries > 8)
    assert masked.tolist() == [True] * entries


sparse_layouts = pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr], ids=str)


@sparse_layouts
@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_tensor_that_a_rule_selects_is_refused(layout: torch.layout) -> None:
    with pytest.raises(MismatchError, match=r"rules\[0\].select selects tensor 'weight', which has the lay") as caught:
        prune_state_dict({"weight": WEIGHT.to_sparse(layout=layout)}, recipe(l1()))
    assert (caught.value.reason, caught.value.tensor) == (Reason.UNPRUNABLE_DTYPE, "weight")


@sparse_layouts
@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_tensor_that_no_rule_selects_passes(layout: torch.layout) -> None:
    adjacency = WEIGHT.to_sparse(layout=layout)
    result = prune_state_dict({"adjacency": adjacency, "weight": WEIGHT}, recipe(l1())).state_dict
    assert result["adjacency"] is adjacency


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (PlanOptions(input_dims={"h.0.attn.c_proj.weight": 1}), [[False, True], [False, True]]),
        (PlanOptions(input_dims={"h.0.attn.c_proj.weight": 0}), [[False, False], [True, True]]),
        (PlanOptions(model_type="gpt2"), [[False, False], [True, True]]),
    ],
    ids=["dim 1", "dim 0", "gpt2"],
)
@pytest.mark.parametrize("prune", [prune_state_dict, prune_state_dict_])
def test_options_say_which_dim_is_the_input(prune: Any, options: PlanOptions, kept: list[list[bool]]) -> None:
    tensors = {"h.0.attn.c_proj.weight": torch.ones(2, 2), "h.0.attn.c_proj.weight:in_norm": torch.tensor([1.0, 2.0])}
    asked = recipe(Rule(score=WeightedMagnitude(), amount=Fraction(0.5)))
    assert (prune(tensors, asked, options=options).state_dict["h.0.attn.c_proj.weight"] != 0).tolist() == kept


def test_options_let_weights_share_a_statistic() -> None:
    tensors = {"q.weight": torch.ones(1, 2), "k.weight": torch.ones(3, 2), "q.weight:in_norm": torch.tensor([1.0, 2.0])}
    options = PlanOptions(auxiliary_aliases={"k.weight:in_norm": "q.weight:in_norm"})
    asked = recipe(Rule(score=WeightedMagnitude(), amount=Fraction(0.5), input_dim=1))
    result: dict[str, Any] = prune_state_dict(tensors, asked, options=options).state_dict
    assert {name: (tensor != 0).tolist() for name, tensor in result.items()} == {
        "q.weight": [[False, True]],
        "k.weight": [[False, True]] * 3,
    }
