"""Output format SCAN: the predicted error of each tensor over sparsity, and nothing is pruned."""

import pytest
import torch

from pruning_engine import RecipeError
from pruning_engine.planning.options import PlanOptions
from pruning_engine.recipe import (
    Alps,
    Channels,
    Fraction,
    Identity,
    Magnitude,
    NOfM,
    ObsScore,
    OutputForm,
    Refit,
    Rule,
    Scope,
    Selector,
    WeightedMagnitude,
)
from pruning_engine.report import TensorReport
from tests.engine.calibrated import Tensors, error, gram, inputs, prune

torch.manual_seed(2)
WEIGHT = torch.randn(6, 8, dtype=torch.float64)
X = inputs(8)
FILE: Tensors = {"fc.weight": WEIGHT, "fc.weight:in_gram": gram(X)}
SPARSITIES = (0.25, 0.5, 0.75)
ALL = Selector(("*.weight",))


def rule(**parts: object) -> Rule:
    return Rule(**{"score": Magnitude(), "amount": Fraction(0.1), "input_dim": 1} | parts)  # type: ignore[arg-type]


def scanned(tensors: Tensors, *rules: Rule, sparsities: tuple[float, ...] = SPARSITIES) -> TensorReport:
    found = prune(tensors, *rules, output=OutputForm.SCAN, options=PlanOptions(scan_sparsities=sparsities))
    assert found.tensors == {}
    return found.report.tensors[0]


def pruned_error(amount: float, made: Rule) -> float:
    own = Rule(score=made.score, amount=Fraction(amount), update=made.update, input_dim=1, is_scanned=True)
    return error(WEIGHT, prune(FILE, own).tensors["fc.weight"], X)


@pytest.mark.parametrize(
    "made",
    [rule(), rule(update=Refit()), rule(score=ObsScore()), rule(score=Alps())],
    ids=["magnitude", "refit", "obs", "alps"],
)
def test_curve_is_the_error_of_pruning_that_much(made: Rule) -> None:
    curve = scanned(FILE, made).curve
    assert [point.sparsity for point in curve] == list(SPARSITIES)
    assert not any(point.is_weak for point in curve)
    for point, sparsity in zip(curve, SPARSITIES, strict=True):
        assert point.predicted_error == pytest.approx(pruned_error(sparsity, made), rel=1e-6)


def test_scan_prunes_nothing() -> None:
    report = scanned(FILE, rule())
    assert (report.pruned, report.predicted_error) == (0, None)


def test_without_statistics_the_curve_is_weak() -> None:
    curve = scanned({"fc.weight": WEIGHT}, rule(input_dim=None)).curve
    order = WEIGHT.abs().flatten().sort().values
    expected = [float(order[: round(48 * sparsity)].norm() / order.norm()) for sparsity in SPARSITIES]
    assert [point.predicted_error for point in curve] == pytest.approx(expected)
    assert all(point.is_weak for point in curve)


def test_each_rule_has_its_curve() -> None:
    curve = scanned(FILE, rule(), rule(score=ObsScore())).curve
    assert [point.rule for point in curve] == [0, 0, 0, 1, 1, 1]


def test_n_of_m_is_one_point() -> None:
    (point,) = scanned(FILE, rule(amount=None, granularity=NOfM(1, 4))).curve
    assert point.sparsity == 0.75


def test_rule_without_amount_is_one_point() -> None:
    (point,) = scanned(FILE, rule(score=Identity(), amount=None)).curve
    assert (point.sparsity, point.predicted_error) == (0.0, 0.0)


def test_global_scope_is_scanned_tensor_by_tensor() -> None:
    found = scanned(FILE | {"up.weight": WEIGHT * 100}, rule(scope=Scope.GLOBAL, select=ALL))
    assert [point.sparsity for point in found.curve] == list(SPARSITIES)


def test_rows_are_scanned_row_by_row() -> None:
    norms = {"fc.weight:in_norm": torch.ones(8)}
    curve = scanned(FILE | norms, rule(score=WeightedMagnitude()), sparsities=(0.5,)).curve
    rows = WEIGHT.abs() > WEIGHT.abs().sort(1).values[:, 3:4]
    assert curve[0].predicted_error == pytest.approx(error(WEIGHT, torch.where(rows, WEIGHT, 0.0), X))


def test_default_is_nine_tenths() -> None:
    curve = prune(FILE, rule(), output=OutputForm.SCAN).report.tensors[0].curve
    assert [round(point.sparsity, 1) for point in curve] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def test_whole_channels_are_refused() -> None:
    with pytest.raises(RecipeError, match="a scan is for granularities"):
        scanned(FILE, rule(granularity=Channels(0)))
