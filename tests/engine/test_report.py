"""What a report tells of each selected parameter."""

import pytest
import torch

from pruning_engine import TensorReport, WarningKind, prune_state_dict
from pruning_engine.recipe import (
    Channels,
    Count,
    Fraction,
    Identity,
    ImportanceScores,
    Magnitude,
    NamedNorm,
    Norm,
    Prior,
    Random,
    Rule,
    Scope,
)
from pruning_engine.report import nearly_empty
from tests.engine.packed import pack
from tests.engine.rules import l1, ln, recipe

WEIGHT = torch.tensor([[3.0, -4.0], [6.0, 8.0]])


def only(*rules: Rule, **companions: torch.Tensor) -> TensorReport:
    state_dict = {"weight": WEIGHT} | {f"weight:{suffix}": tensor for suffix, tensor in companions.items()}
    (report,) = prune_state_dict(state_dict, recipe(*rules)).report.tensors
    return report


def test_counts_what_was_pruned_before_and_in_all() -> None:
    report = only(l1(Count(1)), mask_bits=pack(torch.tensor([True, True, True, False])))
    assert (report.entries, report.pruned_before, report.pruned) == (4, 1, 2)


def test_zeros_count_as_pruned_before_where_a_rule_says_so() -> None:
    rule = Rule(score=Magnitude(), amount=Count(1), prior=Prior.ZEROS)
    (report,) = prune_state_dict({"weight": torch.tensor([[0.0, 1.0, 2.0]])}, recipe(rule)).report.tensors
    assert (report.pruned_before, report.pruned) == (1, 2)


def test_threshold_is_the_largest_pruned_magnitude() -> None:
    assert only(l1(Count(2))).threshold == 4.0


def test_the_threshold_of_given_scores_is_of_the_scores() -> None:
    scores = torch.tensor([[1, -2], [3, 4]])
    assert only(Rule(score=ImportanceScores(), amount=Count(2)), scores=scores).threshold == 2.0


@pytest.mark.parametrize(
    ("norm", "threshold"),
    [(None, 5.0), (1.0, 7.0), (0.0, 2.0), (torch.inf, 4.0), (-torch.inf, 3.0), (NamedNorm.FRO, 5.0)],
)
def test_the_threshold_of_channels_is_a_norm(norm: Norm | None, threshold: float) -> None:
    assert only(ln(norm)).threshold == pytest.approx(threshold)


def test_in_global_scope_the_threshold_is_among_all_tensors() -> None:
    state_dict = {"a": torch.tensor([[1.0, 9.0]]), "b": torch.tensor([[2.0, 3.0]])}
    report = prune_state_dict(state_dict, recipe(l1(Count(2), "*", scope=Scope.GLOBAL))).report
    assert [tensor.threshold for tensor in report.tensors] == [2.0, 2.0]


@pytest.mark.parametrize(
    "rule",
    [
        l1(Count(0)),
        Rule(score=Random(), amount=Count(2)),
        Rule(score=Random(), amount=Count(1), granularity=Channels()),
        Rule(score=Identity()),
    ],
    ids=["nothing fell", "random entries", "random channels", "identity"],
)
def test_no_threshold_without_a_pruned_magnitude(rule: Rule) -> None:
    assert only(rule).threshold is None


def test_pruning_everything_has_a_threshold_too() -> None:
    assert only(l1(Fraction(1.0))).threshold == 8.0


@pytest.mark.parametrize(("norm", "reproducible"), [(2.0, True), (NamedNorm.FRO, True), (0.5, True), (5.0, False)])
def test_reproducible_says_whether_every_device_gives_the_same(norm: Norm, reproducible: bool) -> None:
    assert prune_state_dict({"weight": WEIGHT}, recipe(ln(norm))).report.reproducible is reproducible


def test_report_has_seed_and_device() -> None:
    report = prune_state_dict({"weight": WEIGHT}, recipe(l1(), seed=7)).report
    assert (report.seed, report.device) == (7, "cpu")
    assert report.seconds["prune"] > 0


def test_report_sums_over_the_whole_model() -> None:
    state_dict = {"weight": WEIGHT, "bias": torch.ones(2, dtype=torch.float64)}
    model = prune_state_dict(state_dict, recipe(l1(Count(1)))).report.model
    assert (model.tensors, model.entries, model.weight_bytes) == (2, 6, 32)
    assert (model.selected_tensors, model.selected_entries) == (1, 4)


@pytest.mark.parametrize(
    ("count", "kind"),
    [(990, None), (991, WarningKind.NEARLY_EMPTY), (999, WarningKind.NEARLY_EMPTY), (1000, WarningKind.EMPTY)],
)
def test_tensor_that_ends_up_empty_is_warned_about(count: int, kind: WarningKind | None) -> None:
    state_dict = {"weight": torch.ones(10, 100)}
    warnings = prune_state_dict(state_dict, recipe(l1(Count(count)))).report.warnings
    assert [(warning.kind, warning.tensor) for warning in warnings] == ([] if kind is None else [(kind, "weight")])


def test_warning_says_how_much_is_left() -> None:
    (warning,) = prune_state_dict({"weight": torch.ones(500, 100)}, recipe(l1(Count(49_999)))).report.warnings
    assert "'weight' is 99.99% zero: 1 of its 50,000 weights is left" in warning.message


@pytest.mark.parametrize("scope", [Scope.LOCAL, Scope.GLOBAL])
def test_advice_about_an_empty_tensor_fits_the_scope(scope: Scope) -> None:
    (warning,) = prune_state_dict({"weight": torch.ones(4, 4)}, recipe(l1(Count(16), scope=scope))).report.warnings
    assert ("max_sparsity" in warning.message, "local scope" in warning.message) == (scope is Scope.GLOBAL,) * 2
    assert warning.message.endswith("exclude it, or prune less")


@pytest.mark.parametrize(("zeros_before", "warned"), [(100, False), (10, True), (None, True)])
def test_tensor_that_was_empty_before_is_not_warned_about(zeros_before: int | None, warned: bool) -> None:
    """As the biases of a new layer are; pruning less would change nothing."""
    counted = None if zeros_before is None else 100
    report = TensorReport(
        name="bias", entries=100, pruned_before=0, pruned=100, zeros_before=zeros_before, zeros=counted
    )
    assert [warning.tensor for warning in nearly_empty([report])] == ["bias"] * warned
