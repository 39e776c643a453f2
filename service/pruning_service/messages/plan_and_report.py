"""Plans and reports as messages, none too large; and the limits that keep each description within one message."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TypeAlias, TypeVar

from pruning_engine.checkpoints.parameters import TensorDescription
from pruning_engine.planning.plan import Plan, PlannedParameter
from pruning_engine.planning.selectors.not_selected import NotSelected
from pruning_engine.report import CurvePoint, GroupReport, ModelTotals, ModelWarning, Report, TensorReport, WarningKind
from pruning_proto import limits
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import TensorEntry
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.messages.fields import invalid
from pruning_service.status import Refusal

_NOT_SELECTED = {
    None: pb.NOT_SELECTED_UNSPECIFIED,
    NotSelected.NAME: pb.NOT_SELECTED_NAME,
    NotSelected.DTYPE: pb.NOT_SELECTED_DTYPE,
    NotSelected.DIMS: pb.NOT_SELECTED_DIMS,
    NotSelected.EXCLUDED: pb.NOT_SELECTED_EXCLUDED,
    NotSelected.EMBEDDING: pb.NOT_SELECTED_EMBEDDING,
    NotSelected.OUTPUT_HEAD: pb.NOT_SELECTED_OUTPUT_HEAD,
    NotSelected.ROUTER: pb.NOT_SELECTED_ROUTER,
    NotSelected.NORM: pb.NOT_SELECTED_NORM,
}

_WARNING_KINDS = {
    WarningKind.EMPTY: pb.WARNING_KIND_EMPTY,
    WarningKind.NEARLY_EMPTY: pb.WARNING_KIND_NEARLY_EMPTY,
    WarningKind.HISTORY_NOT_READ: pb.WARNING_KIND_HISTORY_NOT_READ,
    WarningKind.ZEROS_NOT_PRUNED: pb.WARNING_KIND_ZEROS_NOT_PRUNED,
    WarningKind.INPUT_CHANNELS: pb.WARNING_KIND_INPUT_CHANNELS,
    WarningKind.TIED_HEAD: pb.WARNING_KIND_TIED_HEAD,
    WarningKind.WEIGHT_NORM: pb.WARNING_KIND_WEIGHT_NORM,
    WarningKind.NOTHING_PRUNED: pb.WARNING_KIND_NOTHING_PRUNED,
    WarningKind.LEFT_DENSE: pb.WARNING_KIND_LEFT_DENSE,
    WarningKind.UNITS_BY_WEIGHTS: pb.WARNING_KIND_UNITS_BY_WEIGHTS,
    WarningKind.SAME_WIDTH: pb.WARNING_KIND_SAME_WIDTH,
    WarningKind.LEAST_KEPT: pb.WARNING_KIND_LEAST_KEPT,
    WarningKind.DAMPING_INCREASED: pb.WARNING_KIND_DAMPING_INCREASED,
    WarningKind.FEW_TOKENS: pb.WARNING_KIND_FEW_TOKENS,
}

_LONGEST_CHARACTER = 4  # bytes, in UTF-8
_LONGEST_VARINT = 10  # bytes

_PartOfPlan: TypeAlias = pb.TensorPlan | pb.GroupReport | pb.ByteRange | pb.ModelWarning

_Described = TypeVar("_Described", _PartOfPlan, pb.TensorReport | pb.GroupReport | pb.ModelWarning)


def check_describable(entries: Iterable[TensorEntry]) -> None:
    """Refuse a file with a tensor whose name and shape would not fit into one message. Raises: Refusal."""
    for entry in entries:
        if _LONGEST_CHARACTER * len(entry.name) + _LONGEST_VARINT * len(entry.shape) > limits.TENSOR_DESCRIPTION_BYTES:
            raise Refusal(
                reason=Reason.INVALID_HEADER,
                message=f"tensor {entry.name[:80]!r} has a name of {len(entry.name):,} characters and "
                f"{len(entry.shape):,} dims; both together take at most {limits.TENSOR_DESCRIPTION_BYTES:,} bytes",
            )


def check_groups_describable(plan: Plan) -> None:
    """Refuse a channel group whose report would not fit into one message. Raises: Refusal."""
    for group in plan.groups:
        names = sum(_LONGEST_CHARACTER * len(name) for name in (*group.tensors, *group.scored))
        if names > 2 * limits.GROUP_NAMES_BYTES:
            path = f"recipe.rules[{group.rule}].granularity.units"
            raise invalid(
                path,
                f"group {group.name[:80]!r} couples {len(group.tensors):,} tensors, whose names take more than the "
                f"{limits.GROUP_NAMES_BYTES:,} bytes that the report has for them",
            )


def plan_messages(plan: Plan, skipped: Iterable[tuple[int, int]], last: pb.Plan) -> Iterator[pb.PruneResponse]:
    """Yield the messages of a plan, none too large; the fields of `last` go with the last one.

    `skipped`: the byte ranges that are not needed.
    """
    tensors: Iterator[_PartOfPlan] = _tensor_plans(plan)
    groups, ranges = map(_group_report, plan.groups), (pb.ByteRange(begin=begin, end=end) for begin, end in skipped)
    for batch, is_last in _batches(chain(tensors, groups, ranges, map(_warning, plan.warnings))):
        message = pb.Plan(
            tensors=[each for each in batch if isinstance(each, pb.TensorPlan)],
            groups=[each for each in batch if isinstance(each, pb.GroupReport)],
            skipped=[each for each in batch if isinstance(each, pb.ByteRange)],
            warnings=[each for each in batch if isinstance(each, pb.ModelWarning)],
            last=is_last,
        )
        if is_last:
            message.MergeFrom(last)
        yield pb.PruneResponse(plan=message)


def report_messages(report: Report, last: pb.Report) -> Iterator[pb.PruneResponse]:
    """Yield the messages of a report, none too large; the fields of `last` go with the last one, and the totals."""
    last.totals.CopyFrom(_totals(report))
    last.model.CopyFrom(_model(report.model))
    tensors: Iterator[pb.TensorReport | pb.GroupReport | pb.ModelWarning] = map(_tensor_report, report.tensors)
    groups, warnings = map(_group_report, report.groups), map(_warning, report.warnings)
    for batch, is_last in _batches(chain(tensors, groups, warnings)):
        message = pb.Report(
            tensors=[each for each in batch if isinstance(each, pb.TensorReport)],
            groups=[each for each in batch if isinstance(each, pb.GroupReport)],
            warnings=[each for each in batch if isinstance(each, pb.ModelWarning)],
            last=is_last,
        )
        if is_last:
            message.MergeFrom(last)
        yield pb.PruneResponse(report=message)


def _tensor_plans(plan: Plan) -> Iterator[pb.TensorPlan]:
    """Yield what is said of each parameter that came, those that are left out included."""
    if plan.surgery.changes_nothing:
        yield from (_tensor_plan(parameter, parameter.spec) for parameter in plan.parameters)
        return
    planned = {parameter.name: parameter for parameter in plan.parameters}
    for came in plan.surgery.parameters:
        if came.is_removed:
            yield pb.TensorPlan(name=came.name, dtype=came.spec.dtype, shape=came.spec.shape, removed=True)
        elif came.name in planned:  # what was an FP8 weight's second scale may be its first one now
            yield _tensor_plan(planned[came.name], came.spec, plan.surgery.result_names.get(came.name, ""))


def _tensor_plan(parameter: PlannedParameter, came: TensorDescription, result_name: str = "") -> pb.TensorPlan:
    return pb.TensorPlan(
        name=parameter.name,
        dtype=parameter.dtype,
        shape=came.shape,
        result_name=result_name,
        rules=parameter.rules,
        not_selected=_NOT_SELECTED[parameter.not_selected],
        was_pruned=parameter.was_pruned,
        auxiliary=parameter.used_auxiliary,
        input_dim=parameter.input_dim,
    )


def _tensor_report(tensor: TensorReport) -> pb.TensorReport:
    return pb.TensorReport(
        name=tensor.name,
        entries=tensor.entries,
        pruned_before=tensor.pruned_before,
        pruned=tensor.pruned,
        threshold=tensor.threshold,
        zeros_before=tensor.zeros_before,
        zeros=tensor.zeros,
        masked_error=tensor.masked_error,
        predicted_error=tensor.predicted_error,
        damping=tensor.damping,
        curve=map(_curve_point, tensor.curve),
    )


def _curve_point(point: CurvePoint) -> pb.CurvePoint:
    return pb.CurvePoint(
        rule=point.rule,
        sparsity=point.sparsity,
        predicted_error=point.predicted_error,
        is_weak=point.is_weak,
    )


def _group_report(group: GroupReport) -> pb.GroupReport:
    return pb.GroupReport(
        rule=group.rule,
        name=group.name,
        units=group.units,
        kept=group.kept,
        tensors=group.tensors,
        config=group.config,
        map=group.map,
        scored=group.scored,
    )


def _warning(warning: ModelWarning) -> pb.ModelWarning:
    return pb.ModelWarning(kind=_WARNING_KINDS[warning.kind], tensor=warning.tensor or "", message=warning.message)


def _model(model: ModelTotals) -> pb.ModelTotals:
    return pb.ModelTotals(
        tensors=model.tensors,
        entries=model.entries,
        weight_bytes=model.weight_bytes,
        selected_tensors=model.selected_tensors,
        selected_entries=model.selected_entries,
        zeros_before=model.zeros_before,
        zeros=model.zeros,
    )


def _totals(report: Report) -> pb.Totals:
    return pb.Totals(
        tensors=len(report.tensors),
        entries=report.entries,
        pruned_before=sum(tensor.pruned_before for tensor in report.tensors),
        pruned=report.pruned,
    )


def _batches(messages: Iterable[_Described]) -> Iterator[tuple[list[_Described], bool]]:
    batch: list[_Described] = []
    held_bytes = 0
    for message in messages:
        if batch and held_bytes + message.ByteSize() > limits.DESCRIPTION_BYTES:
            yield batch, False
            batch, held_bytes = [], 0
        batch.append(message)
        held_bytes += message.ByteSize()
    yield batch, True
