"""A report as a message says all that it says, so that it can be kept."""

from pruning_client.results.group_report import GroupReport
from pruning_client.results.model_totals import ModelTotals
from pruning_client.results.model_warning import ModelWarning
from pruning_client.results.report import CurvePoint, Report, TensorReport, report_of
from pruning_client.results.report_message import report_message

TENSORS = (
    TensorReport(name="a", entries=4, pruned_before=1, pruned=2, threshold=0.5, zeros_before=1, zeros=2),
    TensorReport(
        name="b",
        entries=8,
        pruned_before=0,
        pruned=4,
        masked_error=0.25,
        predicted_error=0.125,
        damping=0.01,
        curve=(CurvePoint(rule=0, sparsity=0.5, predicted_error=0.25, is_weak=True),),
    ),
)
REPORT = Report(
    tensors=TENSORS,
    entries=12,
    pruned_before=1,
    pruned=6,
    seconds={"total": 1.5},
    device="cpu",
    seed=2**64 - 1,
    version="0.1.0",
    reproducible=True,
    request_id="id",
    input_sha256="0" * 64,
    result_sha256="1" * 64,
    groups=(
        GroupReport(
            rule=1, name="g", units=3, kept=(0, 2), tensors=("a", "b"), config={"width": 2}, map="m", scored=("a",)
        ),
    ),
    result_bytes=100,
    negative_zeros=3,
    model=ModelTotals(
        tensors=3, entries=20, weight_bytes=80, selected_tensors=2, selected_entries=12, zeros_before=1, zeros=6
    ),
    warnings=(
        ModelWarning(kind="nearly_empty", tensor="a", message="look"),
        ModelWarning(kind="unspecified", tensor=None, message="at this"),
    ),
)


def test_a_report_comes_back_whole() -> None:
    assert report_of([report_message(REPORT)]) == REPORT


def test_what_is_absent_stays_so() -> None:
    bare = Report(
        tensors=(TensorReport(name="a", entries=4, pruned_before=0, pruned=0),),
        entries=4,
        pruned_before=0,
        pruned=0,
        seconds={},
        device="cpu",
        seed=0,
        version="",
        reproducible=False,
        request_id="",
    )

    assert report_of([report_message(bare)]) == bare


def test_a_warning_of_the_client_is_kept_without_its_kind() -> None:
    message = report_message(REPORT.with_warnings(ModelWarning(kind="of_this_client", tensor=None, message="text")))

    assert report_of([message]).warnings[-1] == ModelWarning(kind="unspecified", tensor=None, message="text")
