"""Reports read again from the JSON that a run wrote, and what is said of other JSON."""

import json
import math
from typing import Any

import pytest

from pruning_client.results.group_report import GroupReport
from pruning_client.results.model_totals import ModelTotals
from pruning_client.results.model_warning import ModelWarning
from pruning_client.results.plan import TensorPlan
from pruning_client.results.report import Report
from pruning_client.results.report_json import report_of_json
from pruning_client.results.tensor_report import TensorReport

TENSOR = TensorReport(name="fc.weight", entries=4, pruned_before=0, pruned=2, threshold=2.0, zeros=2)
REPORT = Report(
    tensors=(TENSOR, TensorReport(name="b", entries=1, pruned_before=0, pruned=1, predicted_error=math.inf)),
    entries=5,
    pruned_before=0,
    pruned=3,
    seconds={"total": 0.5},
    device="cpu",
    seed=2**64 - 1,
    version="0.2.0",
    reproducible=True,
    request_id="r",
    result_sha256="00",
    groups=(GroupReport(rule=0, name="g", units=4, kept=(0, 3), tensors=("a", "b"), config={"width": 2}),),
    result_bytes=100,
    model=ModelTotals(tensors=3, entries=9, weight_bytes=36, selected_tensors=2, selected_entries=5, zeros=3),
    largest_not_selected=(TensorPlan(name="n", dtype="F32", shape=(4,), rules=(), not_selected="dims"),),
    warnings=(ModelWarning(kind="empty", tensor="b", message="nothing is left"),),
)


def saved(**changed: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(REPORT.to_dict()))
    return found | changed


def test_report_is_what_was_written() -> None:
    assert report_of_json(saved()) == REPORT


def test_fields_of_newer_versions_are_ignored() -> None:
    assert report_of_json(saved(added=[1], source="in", out="out")) == REPORT


def test_report_of_a_job_is_within_its_json() -> None:
    assert report_of_json({"operation": "operations/x", "state": "succeeded", "report": saved()}) == REPORT


def test_plan_has_the_tensors_that_no_rule_selects() -> None:
    tensors = [{"name": "n", "dtype": "F32", "shape": [4], "rules": [], "not_selected": "dims"}]
    plan = report_of_json(saved(plan={"tensors": tensors})).plan
    assert plan is not None
    assert plan.tensors == REPORT.largest_not_selected


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        pytest.param([], "is a list, and not the JSON object", id="a list"),
        pytest.param({}, "it has no tensors, seconds, version", id="something else"),
        pytest.param({"error": {"message": "no such file"}}, "instead of a report: no such file", id="an error"),
        pytest.param({"operation": "x", "state": "running", "report": None}, "a job that is running", id="a job"),
        pytest.param({"tensors": [], "peak_bytes": 1}, "is a plan", id="a plan"),
        pytest.param({"rules": []}, "is a recipe", id="a recipe"),
        pytest.param(saved(tensors=[{"curve": [{}]}]), "is what `prune scan` printed", id="a scan"),
        pytest.param(saved(tensors={}), "tensors is an object, and not a list", id="no list"),
        pytest.param(saved(tensors=[3]), r"tensors\[0\] is 3, and not an object", id="no tensor"),
        pytest.param(saved(tensors=[{"name": 1}]), r"tensors\[0\].name is 1, and not text", id="no name"),
        pytest.param(saved(tensors=[{"name": "a"}]), r"has no tensors\[0\].entries", id="a field is missing"),
        pytest.param(saved(seconds={"total": "x"}), "seconds.total is 'x', and not a number", id="no number"),
        pytest.param(saved(seed="x"), "seed is 'x', and not a whole number", id="no seed"),
        pytest.param(saved(pruned=True), "pruned is True, and not a whole number", id="true is not 1"),
        pytest.param(saved(plan={}), "plan.tensors is None, and not a list", id="no plan"),
    ],
)
def test_what_is_wrong_is_said(value: object, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        report_of_json(value)
