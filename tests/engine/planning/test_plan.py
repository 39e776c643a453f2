"""A plan: what tensors stand for together, what each leaves as, and everything that is refused without data."""

from dataclasses import replace

import pytest

from pruning_engine import MismatchError, OutputForm, PruningError, Reason
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.planning.plan import Plan
from pruning_engine.planning.planner import make_plan
from pruning_engine.planning.selectors.not_selected import NotSelected
from pruning_engine.recipe import (
    Channels,
    Count,
    CustomMask,
    Fraction,
    ImportanceScores,
    Magnitude,
    NamedNorm,
    Prior,
    Recipe,
    Rule,
    Scope,
    Selector,
)
from tests.engine.rules import l1, ln, recipe

HALF = Fraction(0.5)
SCORED = Rule(score=ImportanceScores(), amount=HALF)


def spec(name: str, *shape: int, dtype: str = "F32") -> TensorSpec:
    return TensorSpec(name, dtype, shape)


def planned(*tensors: TensorSpec, rule: Rule = l1(), output: OutputForm = OutputForm.PRUNED) -> Plan:  # noqa: B008
    return make_plan(recipe(rule), tensors, output=output)


def refusal(rule: Rule, *tensors: TensorSpec, **aliases: str) -> PruningError:
    with pytest.raises(PruningError) as caught:
        make_plan(recipe(rule), tensors, aliases=aliases)
    return caught.value


@pytest.mark.parametrize(
    ("dtype", "shape", "nbytes"),
    [("F32", (2, 3), 24), ("BF16", (), 2), ("F4", (2, 3), 3), ("BOOL", (0, 9), 0), ("complex128", (2,), 32)],
)
def test_the_bytes_of_a_tensor(dtype: str, shape: tuple[int, ...], nbytes: int) -> None:
    assert TensorSpec("w", dtype, shape).nbytes == nbytes


def test_of_several_faulty_auxiliary_tensors_that_of_the_first_weight_is_named() -> None:
    tensors = [spec("b:mask_bits", 9, dtype="U8"), spec("a", 2), spec("a:mask_bits", 9, dtype="U8"), spec("b", 2)]
    assert refusal(l1(), *tensors).tensor == "a:mask_bits"


def test_a_pair_is_one_parameter_of_its_plain_name() -> None:
    plan = planned(spec("l.weight_orig", 2, 2), spec("l.weight_mask", 2, 2, dtype="BOOL"))
    (parameter,) = plan.parameters
    assert (parameter.name, parameter.weight, parameter.mask) == ("l.weight", "l.weight_orig", "l.weight_mask")
    assert parameter.sources == ("l.weight_orig", "l.weight_mask")
    assert plan.results == (spec("l.weight", 2, 2),)


@pytest.mark.parametrize(
    "others",
    [
        [],
        [spec("x_mask", 2, 3)],
        [spec("x_mask", 2, 2), spec("x", 2, 2)],
        [spec("x_mask", 2, 2, dtype="C64")],
    ],
    ids=["no mask", "another shape", "the plain name is taken", "no real dtype"],
)
def test_what_is_no_pair_stays_as_it_is(others: list[TensorSpec]) -> None:
    plan = planned(spec("x_orig", 2, 2), *others, spec("weight", 2, 2))
    assert plan.parameters[0].name == "x_orig"
    assert plan.parameters[0].passes_through


def test_auxiliary_tensors_belong_to_their_parameter_and_are_not_returned() -> None:
    plan = planned(
        spec("w:scores", 2, 2),
        spec("w", 2, 2),
        rule=Rule(score=ImportanceScores(), amount=HALF, select=Selector(("w",))),
    )
    (parameter,) = plan.parameters
    assert parameter.sources == ("w", "w:scores")
    assert plan.results == (spec("w", 2, 2),)


def test_only_listed_suffixes_make_an_auxiliary_tensor() -> None:
    assert [each.name for each in planned(spec("weight", 2, 2), spec("kernel:0", 2)).parameters] == [
        "weight",
        "kernel:0",
    ]


def test_parameters_and_results_stand_in_the_order_of_the_input() -> None:
    plan = planned(spec("b.weight", 2, 2), spec("a.weight", 2, 2), spec("bias", 2), output=OutputForm.MASKED)
    assert [each.name for each in plan.parameters] == ["b.weight", "a.weight", "bias"]
    assert [each.name for each in plan.results] == [
        "b.weight_orig",
        "b.weight_mask",
        "a.weight_orig",
        "a.weight_mask",
        "bias",
    ]


@pytest.mark.parametrize(
    ("output", "results"),
    [
        (OutputForm.PRUNED, (TensorSpec("weight", "BF16", (3, 3)),)),
        (OutputForm.MASKED, (TensorSpec("weight_orig", "BF16", (3, 3)), TensorSpec("weight_mask", "BOOL", (3, 3)))),
        (OutputForm.MASK, (TensorSpec("weight:mask_bits", "U8", (2,)),)),
        (OutputForm.REPORT, ()),
    ],
)
def test_what_a_selected_parameter_leaves_as(output: OutputForm, results: tuple[TensorSpec, ...]) -> None:
    assert planned(spec("weight", 3, 3, dtype="BF16"), output=output).results == results


def test_what_no_rule_selects_passes_through() -> None:
    plan = planned(spec("weight", 2, 2), spec("bias", 2))
    assert [each.passes_through for each in plan.parameters] == [False, True]


def test_a_pair_to_fold_does_not_pass_through() -> None:
    plan = planned(spec("weight", 2, 2), spec("b_orig", 2), spec("b_mask", 2))
    assert not plan.parameters[1].passes_through


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (spec("a.bias", 2, 2), NotSelected.NAME),
        (spec("norm.weight", 2), NotSelected.DIMS),
        (spec("a.weight", 2, 2, dtype="I8"), NotSelected.DTYPE),
        (spec("embed.weight", 2, 2), NotSelected.EMBEDDING),
        (spec("lm_head.weight", 2, 2), NotSelected.OUTPUT_HEAD),
        (spec("mlp.gate.weight", 2, 2), NotSelected.ROUTER),
        (spec("q_norm.weight", 2, 2), NotSelected.NORM),
    ],
)
def test_why_a_tensor_is_not_selected(tensor: TensorSpec, why: NotSelected) -> None:
    assert planned(tensor, spec("weight", 2, 2)).parameters[0].not_selected is why


def test_an_alias_is_another_name_to_select_by() -> None:
    plan = make_plan(recipe(l1(HALF, "head")), [spec("w", 2, 2)], aliases={"head": "w"})
    assert plan.parameters[0].rules == (0,)
    assert plan.parameters[0].aliases == ("head",)


@pytest.mark.parametrize(("norm", "reproducible"), [(4.0, True), (NamedNorm.NUC, False), (2.5, False)])
def test_other_norms_are_not_reproducible(norm: float | NamedNorm, reproducible: bool) -> None:
    rule = Rule(score=Magnitude(norm), amount=HALF, granularity=Channels())
    assert planned(spec("weight", 2, 2, 2), rule=rule).reproducible is reproducible


@pytest.mark.parametrize(
    ("rule", "tensors", "reason", "tensor"),
    [
        (l1(), [spec("w:scores", 2)], Reason.ORPHAN_COMPANION, "w:scores"),
        (l1(), [spec("weight", 2, 2), spec("weight:scores", 2, 2)], Reason.UNUSED_COMPANION, "weight:scores"),
        (l1(), [spec("weight", 2, 2), spec("weight:mask", 2, 2)], Reason.UNUSED_COMPANION, "weight:mask"),
        (
            l1(),
            [spec("weight", 2, 2), spec("b", 8), spec("b:mask_bits", 1, dtype="U8")],
            Reason.UNUSED_COMPANION,
            "b:mask_bits",
        ),
        (SCORED, [spec("weight", 2, 2)], Reason.MISSING_COMPANION, "weight"),
        (Rule(score=CustomMask()), [spec("weight", 2, 2)], Reason.MISSING_COMPANION, "weight"),
        (SCORED, [spec("weight", 2, 2), spec("weight:scores", 2, 3)], Reason.SHAPE_MISMATCH, "weight:scores"),
        (
            SCORED,
            [spec("weight", 2, 2), spec("weight:scores", 2, 2, dtype="C64")],
            Reason.UNPRUNABLE_DTYPE,
            "weight:scores",
        ),
        (
            l1(),
            [spec("weight", 3, 3), spec("weight:mask_bits", 1, dtype="U8")],
            Reason.SHAPE_MISMATCH,
            "weight:mask_bits",
        ),
        (
            l1(),
            [spec("weight", 3, 3), spec("weight:mask_bits", 2, dtype="I8")],
            Reason.SHAPE_MISMATCH,
            "weight:mask_bits",
        ),
        (
            l1(),
            [spec("weight_orig", 2, 2), spec("weight_mask", 2, 2), spec("weight:mask_bits", 1, dtype="U8")],
            Reason.AMBIGUOUS_PRIOR,
            "weight",
        ),
        (l1(HALF, "w"), [spec("w", 2, dtype="BOOL")], Reason.UNPRUNABLE_DTYPE, "w"),
        (ln(2.0, dim=2), [spec("weight", 2, 2)], Reason.DIM_OUT_OF_RANGE, "weight"),
        (ln(2.0, dim=-3), [spec("weight", 2, 2)], Reason.DIM_OUT_OF_RANGE, "weight"),
        (
            Rule(score=Magnitude(), amount=HALF, granularity=Channels(), select=Selector(("b",))),
            [spec("b", 2)],
            Reason.DIM_OUT_OF_RANGE,
            "b",
        ),
        (ln(NamedNorm.NUC), [spec("weight", 2, 2)], Reason.NORM_NOT_DEFINED, "weight"),
        (l1(Count(5)), [spec("weight", 2, 2)], Reason.COUNT_TOO_LARGE, "weight"),
        (ln(2.0, amount=Count(3)), [spec("weight", 2, 9)], Reason.COUNT_TOO_LARGE, "weight"),
    ],
)
def test_refusals_without_data(rule: Rule, tensors: list[TensorSpec], reason: Reason, tensor: str) -> None:
    error = refusal(rule, *tensors)
    assert (error.reason, error.tensor) == (reason, tensor)


def test_a_global_count_may_be_as_large_as_all_tensors_together() -> None:
    tensors = (spec("a.weight", 2, 2), spec("b.weight", 2, 2))
    planned(*tensors, rule=l1(Count(8), scope=Scope.GLOBAL))
    assert refusal(l1(Count(9), scope=Scope.GLOBAL), *tensors).field == "rules[0].amount.count"


@pytest.mark.parametrize("select", [Selector(exclude=("*.weight",)), Selector(("*bias",))], ids=["excluded", "dims"])
def test_a_rule_that_selects_nothing_is_refused(select: Selector) -> None:
    error = refusal(replace(l1(), select=select), spec("a.weight", 2, 2), spec("a.bias", 2))
    assert (error.reason, error.field) == (Reason.SELECTS_NOTHING, "rules[0].select")


def test_a_pattern_that_matches_nothing_is_refused_by_its_path() -> None:
    with pytest.raises(MismatchError) as caught:
        make_plan(recipe(l1(), l1(HALF, "no.such*")), [spec("weight", 2, 2)])
    assert (caught.value.reason, caught.value.field) == (Reason.SELECTS_NOTHING, "rules[1].select.include[0]")


def test_a_result_must_not_take_the_name_of_another() -> None:
    with pytest.raises(MismatchError) as caught:
        planned(spec("weight", 2, 2), spec("weight_orig", 3), output=OutputForm.MASKED)
    assert (caught.value.reason, caught.value.tensor) == (Reason.NAME_COLLISION, "weight_orig")


@pytest.mark.parametrize(
    ("aliases", "tensor"),
    [({"other": "gone"}, "gone"), ({"bias": "weight"}, "bias"), ({"other": "weight:mask_bits"}, "weight:mask_bits")],
    ids=["names nothing", "is a tensor itself", "names a companion"],
)
def test_aliases_that_make_no_sense(aliases: dict[str, str], tensor: str) -> None:
    tensors = (spec("weight", 2, 2), spec("bias", 2), spec("weight:mask_bits", 1, dtype="U8"))
    error = refusal(l1(), *tensors, **aliases)
    assert (error.reason, error.tensor) == (Reason.INVALID_ALIAS, tensor)


def test_zeros_as_prior_do_not_make_a_count_known_to_be_too_large() -> None:
    rule = Rule(score=Magnitude(), amount=Count(4), prior=Prior.ZEROS)
    assert planned(spec("weight", 2, 2), rule=rule).parameters[0].rules == (0,)


@pytest.mark.parametrize(
    ("rules", "tensors", "masks"),
    [
        ((l1(),), (spec("a.weight", 8, 8, dtype="F8_E5M2"),), 1),
        ((l1(), l1()), (spec("a.weight", 8, 8, dtype="F8_E5M2"),), 2),
        ((replace(l1(), prior=Prior.ZEROS),), (spec("a.weight", 8, 8, dtype="F8_E5M2"),), 2),
        ((l1(),), (spec("a.weight_orig", 8, 8, dtype="F8_E5M2"), spec("a.weight_mask", 8, 8, dtype="BOOL")), 2),
    ],
    ids=["one rule", "two rules", "zeros count as pruned", "a prior mask that is not packed"],
)
def test_a_mask_is_counted_beside_the_one_that_it_is_made_of(
    rules: tuple[Rule, ...], tensors: tuple[TensorSpec, ...], masks: int
) -> None:
    plan = make_plan(Recipe(rules), tensors)
    assert plan.peak_bytes == sum(tensor.nbytes for tensor in tensors) + masks * 8


def test_millions_of_channels_are_counted_with_what_ranks_them() -> None:
    tensor = spec("a.weight", 2, 1_000_000)
    along = Rule(score=Magnitude(2.0), amount=HALF, granularity=Channels(1))
    assert planned(tensor, rule=along).peak_bytes > planned(tensor, rule=l1()).peak_bytes + 8 * 1_000_000


@pytest.mark.parametrize(("shape", "dim"), [((2, 1024, 1024), 0), ((4096, 2, 512), 1)], ids=str)
def test_the_nuclear_norm_of_matrices_that_take_a_second_is_planned(shape: tuple[int, ...], dim: int) -> None:
    nuclear = Rule(score=Magnitude(NamedNorm.NUC), amount=HALF, granularity=Channels(dim))
    assert planned(spec("a.weight", *shape), rule=nuclear).parameters[0].rules == (0,)


@pytest.mark.parametrize(("shape", "dim"), [((2, 1024, 1025), 0), ((1024, 1025, 2), -1)], ids=str)
def test_the_nuclear_norm_of_large_matrices_is_refused(shape: tuple[int, ...], dim: int) -> None:
    nuclear = Rule(score=Magnitude(NamedNorm.NUC), amount=HALF, granularity=Channels(dim))
    error = refusal(nuclear, spec("a.weight", *shape))
    assert (error.reason, error.field) == (Reason.NORM_NOT_DEFINED, "rules[0].score.magnitude.norm")
    assert "1024 x 1024" in str(error)


def test_rules_of_equal_selectors_share_what_they_select() -> None:
    tensors = [spec(f"{i}.weight", 2, 2) for i in range(3)]
    plan = make_plan(Recipe((l1(), ln(2.0), l1())), tensors)
    assert [parameter.rules for parameter in plan.parameters] == [(0, 1, 2)] * 3
    assert len({id(parameter.rules) for parameter in plan.parameters}) == 1


def test_a_later_rule_is_checked_also_after_one_that_asks_the_same_of_other_tensors() -> None:
    rules = (replace(ln(2.0, 1), select=Selector(("a",))), replace(ln(2.0, 1), select=Selector(("b",))))
    with pytest.raises(MismatchError) as caught:
        make_plan(Recipe(rules), [spec("a", 2, 2), spec("b", 2)])
    assert (caught.value.field, caught.value.tensor) == ("rules[1].granularity.channels.dim", "b")
