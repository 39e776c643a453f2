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


@pytest.mark.parametrize(
    ("rule", "zeros"),
    [
        pytest.param(l1(0.5), (3, 5), id="zeros are pruned first"),
        pytest.param(l1(0.5, prior=pb.PRIOR_ZEROS), (3, 6), id="zeros count as pruned"),
        pytest.param(l1(0.0), (3, 3), id="nothing is pruned"),
        pytest.param(l1(0.5, select=pb.Selector(include=["b.bias"])), (3, 4), id="of integers"),
    ],
)
@pytest.mark.parametrize("output", [pb.OUTPUT_FORM_PRUNED, pb.OUTPUT_FORM_MASK, pb.OUTPUT_FORM_REPORT])
def test_zeros_of_the_model_are_counted(
    server: ServerProcess, rule: pb.Rule, zeros: tuple[int, int], output: pb.OutputForm
) -> None:
    content = file(
        {
            "a.weight": ("F32", [2, 2], f32(4, -0.0, 2, 1)),
            "b.weight": ("F32", [1, 2], f32(9, 8)),
            "b.bias": ("I8", [3], b"a\0b"),
            "c.bias": ("F32", [2], f32(0, 1)),
        }
    )
    model = prune(server.address, content, rules=[rule], output=output).report.model
    assert (model.zeros_before, model.zeros) == zeros


def test_zeros_of_large_tensors_that_pass_through_are_counted(server: ServerProcess) -> None:
    content = file({"a.weight": ("F32", [1, 2], f32(1, 2)), "b": ("U8", [300_000], bytes([0, 1, 2] * 100_000))})
    model = prune(server.address, content).report.model
    assert (model.zeros_before, model.zeros) == (100_000, 100_001)


def test_masked_pairs_count_what_is_zero_or_pruned(server: ServerProcess) -> None:
    pair = {"w_orig": ("F32", [1, 4], f32(0, 3, 2, 1)), "w_mask": ("BOOL", [1, 4], b"\1\1\1\0")}
    report = prune(server.address, file(pair), rules=[l1(0.5, select=pb.Selector(include=["w"]))]).report
    (tensor,) = report.tensors
    assert (tensor.pruned_before, tensor.zeros_before, tensor.pruned, tensor.zeros) == (1, 2, 3, 3)


def test_model_with_a_dtype_that_has_no_bytes_has_no_count(server: ServerProcess) -> None:
    content = file({"a.weight": ("F32", [1, 2], f32(1, 2)), "b": ("F4", [2], b"a")})
    report = prune(server.address, content).report
    assert not report.model.HasField("zeros")
    assert report.tensors[0].zeros == 1


PRIORS = [
    pytest.param({}, True, id="default"),
    pytest.param({"prior": pb.PRIOR_ZEROS}, False, id="zeros are pruned"),
    pytest.param({"prior": pb.PRIOR_MASK}, False, id="zeros are weights"),
    pytest.param({"granularity": pb.Granularity(channels=pb.Channels())}, False, id="channels"),
]


@pytest.mark.parametrize(("fields", "is_warned"), PRIORS)
def test_zeros_that_are_pruned_once_more_are_warned_about(
    server: ServerProcess, fields: dict[str, object], is_warned: bool
) -> None:
    content = file({"a.weight": ("F32", [2, 2], f32(4, 0, 2, 1))})
    kinds = [warning.kind for warning in prune(server.address, content, rules=[l1(0.5, **fields)]).report.warnings]
    assert (pb.WARNING_KIND_ZEROS_NOT_PRUNED in kinds) is is_warned


def test_few_zeros_are_not_worth_a_warning(server: ServerProcess) -> None:
    content = file({"a.weight": ("F32", [1, 40], f32(0, *range(1, 40)))})
    assert not prune(server.address, content).report.warnings


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
