"""A report as the contract has it: what `report_of` reads again, for results that are kept as messages."""

from dataclasses import fields
from typing import Any

from google.protobuf.message import Message

from pruning_client.results.model_warning import ModelWarning
from pruning_client.results.report import Report
from pruning_proto.v1 import pruning_pb2 as pb


def report_message(report: Report) -> pb.Report:
    """Return the message of a whole report. What a report takes from the plan has no field in it."""
    message = pb.Report(
        last=True,
        request_id=report.request_id,
        totals=pb.Totals(
            tensors=len(report.tensors),
            entries=report.entries,
            pruned_before=report.pruned_before,
            pruned=report.pruned,
        ),
        stage_seconds=report.seconds,
        device=report.device,
        seed=report.seed,
        version=report.version,
        reproducible=report.reproducible,
        input_sha256=report.input_sha256 or "",
        result_sha256=report.result_sha256 or "",
        negative_zeros=report.negative_zeros,
        result_bytes=report.result_bytes,
        warnings=map(_warning, report.warnings),
    )
    for tensor in report.tensors:
        _copy(tensor, message.tensors.add())
    for group in report.groups:
        _copy(group, message.groups.add())
    if report.model is not None:
        _copy(report.model, message.model)
    return message


def _copy(value: Any, message: Message) -> None:
    """Copy a value into its message, whose fields have the same names. None is absent."""
    for field in fields(value):
        content = getattr(value, field.name)
        target = getattr(message, field.name)
        if field.name == "curve":
            for point in content:
                _copy(point, target.add())
        elif isinstance(content, tuple):
            target.extend(content)
        elif isinstance(content, dict):
            target.update(content)
        elif content is not None:
            setattr(message, field.name, content)


def _warning(warning: ModelWarning) -> pb.ModelWarning:
    kind = f"WARNING_KIND_{warning.kind.upper()}"
    known = kind if kind in pb.WarningKind.keys() else None  # noqa: SIM118 - an enum; this client has some of its own
    return pb.ModelWarning(kind=known, tensor=warning.tensor or "", message=warning.message)
