"""What a call reports of the whole model, selected or not, and what it warns about."""

import pytest

from pruning_engine.report import ModelWarning, Report, WarningKind
from pruning_proto import limits
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.messages.plan_and_report import report_messages
from tests.servers import ServerProcess
from tests.service.raw import f32, file, l1, prune

CONTENT = file(
    {
        "a.weight": ("F32", [2, 2], f32(4, 3, 2, 1)),
        "b.weight": ("F32", [1, 2], f32(9, 8)),
        "b.bias": ("I8", [3], b"abc"),
    }
)


def test_report_counts_what_no_rule_selects_too(server: ServerProcess) -> None:
    model = prune(server.address, CONTENT).report.model
    assert (model.tensors, model.entries, model.weight_bytes) == (3, 9, 27)
    assert (model.selected_tensors, model.selected_entries) == (2, 6)


def test_tensor_that_a_global_amount_empties_is_warned_about(server: ServerProcess) -> None:
    rule = l1(4 / 6, scope=pb.SCOPE_GLOBAL)
    (warning,) = prune(server.address, CONTENT, rules=[rule]).report.warnings
    assert (warning.kind, warning.tensor) == (pb.WARNING_KIND_EMPTY, "a.weight")
    assert "local scope" in warning.message


def test_many_warnings_span_several_messages() -> None:
    warnings = [ModelWarning(kind=WarningKind.EMPTY, tensor=str(at), message="x" * 1000) for at in range(1000)]
    report = Report(tensors=(), seconds={}, device="cpu", seed=0, reproducible=True, warnings=tuple(warnings))
    messages = list(report_messages(report, pb.Report()))
    assert max(message.ByteSize() for message in messages) < limits.MESSAGE_BYTES
    assert [found.tensor for message in messages for found in message.report.warnings] == [
        str(at) for at in range(1000)
    ]


@pytest.mark.parametrize("kind", WarningKind)
def test_every_kind_of_warning_has_a_number(kind: WarningKind) -> None:
    warning = ModelWarning(kind=kind, tensor=None, message="m")
    report = Report(tensors=(), seconds={}, device="cpu", seed=0, reproducible=True, warnings=(warning,))
    (message,) = report_messages(report, pb.Report())
    assert message.report.warnings[0].kind == pb.WarningKind.Value(f"WARNING_KIND_{kind.upper()}")
