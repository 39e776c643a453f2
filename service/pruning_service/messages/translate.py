"""Messages to values and back. No decisions: what a value means is `pruning_engine`'s, what it costs is `stream`'s."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TypeVar

from pruning_engine.planning.name_patterns import NotSelected
from pruning_engine.planning.plan import Plan, PlannedParameter
from pruning_engine.recipe import (
    Amount,
    Argument,
    ChannelGroup,
    Channels,
    ChannelSlice,
    Count,
    CustomMask,
    Dead,
    Entries,
    Fraction,
    Granularity,
    Identity,
    ImportanceScores,
    Magnitude,
    Method,
    NamedNorm,
    Norm,
    OutputForm,
    Prior,
    Random,
    Recipe,
    Rule,
    Scope,
    Score,
    Selector,
    Sparsity,
    Units,
)
from pruning_engine.report import GroupReport, Report, TensorReport
from pruning_proto import limits
from pruning_proto.formats import BY_NUMBER
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import TensorEntry
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.status import Refusal, Violation

_SCOPES = {pb.SCOPE_UNSPECIFIED: Scope.LOCAL, pb.SCOPE_LOCAL: Scope.LOCAL, pb.SCOPE_GLOBAL: Scope.GLOBAL}
_PRIORS = {pb.PRIOR_UNSPECIFIED: Prior.MASK, pb.PRIOR_MASK: Prior.MASK, pb.PRIOR_ZEROS: Prior.ZEROS}
_NAMED_NORMS = {pb.NAMED_NORM_FRO: NamedNorm.FRO, pb.NAMED_NORM_NUC: NamedNorm.NUC}
_PLAIN_SCORES: Mapping[str, Score] = {
    "random": Random(),
    "custom_mask": CustomMask(),
    "identity": Identity(),
    "dead": Dead(),
}
"""Scores that say all by their kind."""

_NOT_SELECTED = {
    None: pb.NOT_SELECTED_UNSPECIFIED,
    NotSelected.NAME: pb.NOT_SELECTED_NAME,
    NotSelected.DTYPE: pb.NOT_SELECTED_DTYPE,
    NotSelected.DIMS: pb.NOT_SELECTED_DIMS,
    NotSelected.EXCLUDED: pb.NOT_SELECTED_EXCLUDED,
}

OUTPUTS = {number: OutputForm(row.computed_as) for number, row in BY_NUMBER.items()}
"""What the engine produces for each output format of the wire."""

_LONGEST_CHARACTER = 4  # bytes, in UTF-8
_LONGEST_VARINT = 10  # bytes

_Described = TypeVar("_Described", pb.TensorPlan, pb.TensorReport | pb.GroupReport)


def recipe(message: pb.Recipe) -> Recipe:
    """Translate a recipe whose every part is known here.

    Raises: Refusal INVALID_RECIPE with the path of a part that is missing.
    """
    if len(message.rules) > limits.RULES:
        raise _invalid("recipe.rules", f"at most {limits.RULES} rules are allowed, got {len(message.rules)}")
    return Recipe(
        rules=tuple(_rule(rule, f"recipe.rules[{position}]") for position, rule in enumerate(message.rules)),
        seed=message.seed if message.HasField("seed") else None,
    )


def _rule(message: pb.Rule, path: str) -> Rule:
    if message.granularity.HasField("units") and message.HasField("select"):
        raise _invalid(f"{path}.select", "a rule of units acts on the tensors of its ties; leave select out")
    return Rule(
        score=_score(message, path),
        amount=_amount(message.amount, f"{path}.amount") if message.HasField("amount") else None,
        select=Selector(include=tuple(message.select.include), exclude=tuple(message.select.exclude)),
        granularity=_granularity(message, path),
        scope=_SCOPES[message.scope],
        prior=_PRIORS[message.prior],
    )


def _score(message: pb.Rule, path: str) -> Score:
    score = message.score
    if score.WhichOneof("kind") in ("custom_mask", "identity", "method", "dead"):
        _refuse_ranking(message, path)
    match score.WhichOneof("kind"):
        case "magnitude":
            return Magnitude(_norm(score.magnitude, f"{path}.score.magnitude.norm"))
        case "importance_scores":
            norm = _norm(score.importance_scores, f"{path}.score.importance_scores.norm")
            return ImportanceScores(norm, score.importance_scores.fall_back_to_weights)
        case "method":
            return Method(score.method.name, _arguments(score.method, f"{path}.score.method.arguments"))
        case str() as kind:
            return _PLAIN_SCORES[kind]
    raise _invalid(
        f"{path}.score",
        "a score is required: magnitude, random, importance_scores, custom_mask, identity, method or dead",
    )


def _refuse_ranking(message: pb.Rule, path: str) -> None:
    """Refuse, also in their default values, the parts that only a rule that ranks takes."""
    given = {"scope": message.scope != pb.SCOPE_UNSPECIFIED}
    if message.score.WhichOneof("kind") != "dead":
        given["granularity"] = message.HasField("granularity")
    for field, is_given in given.items():
        if is_given:
            raise _invalid(f"{path}.{field}", f"{message.score.WhichOneof('kind')} takes no {field}; leave it out")


def _arguments(method: pb.CustomMethod, path: str) -> dict[str, Argument]:
    arguments: dict[str, Argument] = {}
    for name, argument in method.arguments.items():
        kind = argument.WhichOneof("value")
        if kind is None:
            raise _invalid(f'{path}["{name}"]', "an argument needs an integer, a number, a text or a flag")
        arguments[name] = getattr(argument, kind)
    return arguments


def _norm(score: pb.Magnitude | pb.ImportanceScores, path: str) -> Norm | None:
    if not score.HasField("norm"):
        return None
    match score.norm.WhichOneof("order"):
        case "p":
            return score.norm.p
        case "named" if score.norm.named in _NAMED_NORMS:
            return _NAMED_NORMS[score.norm.named]
    raise _invalid(path, "a norm needs p, or a name: NAMED_NORM_FRO or NAMED_NORM_NUC")


def _granularity(message: pb.Rule, path: str) -> Granularity:
    if not message.HasField("granularity"):
        return Entries()
    match message.granularity.WhichOneof("kind"):
        case "entries":
            return Entries()
        case "channels":
            return Channels(message.granularity.channels.dim)
        case "units":
            return _units(message.granularity.units)
    raise _invalid(f"{path}.granularity", "a granularity needs entries, channels or units; leave it out for entries")


def _units(message: pb.Units) -> Units:
    return Units(
        groups=tuple(map(_group, message.groups)),
        map=message.map,
        head_dim=message.head_dim or None,
        round_to=message.round_to or 1,
        same_width=message.same_width,
    )


def _group(message: pb.Group) -> ChannelGroup:
    return ChannelGroup(
        ties=tuple(map(_tie, message.ties)),
        for_each=message.for_each,
        units=message.units or None,
        config=dict(message.config),
    )


def _tie(message: pb.Tie) -> ChannelSlice:
    return ChannelSlice(
        tensor=message.tensor,
        dim=message.dim,
        offset=message.offset,
        outer=message.outer or 1,
        inner=message.inner or 1,
        indices=tuple(message.indices),
        scored=message.scored if message.HasField("scored") else None,
        may_be_missing=message.may_be_missing,
    )


def _amount(message: pb.Amount, path: str) -> Amount:
    match message.WhichOneof("kind"):
        case "fraction":
            return Fraction(message.fraction)
        case "count":
            return Count(message.count)
        case "sparsity":
            return Sparsity(message.sparsity)
    raise _invalid(path, "an amount needs a fraction, a count or a sparsity")


def _invalid(path: str, description: str) -> Refusal:
    return Refusal(
        reason=Reason.INVALID_RECIPE,
        message=f"{path}: {description}",
        violations=(Violation(path, description),),
        metadata={"field": path},
    )


def check_form(options: pb.PruneOptions) -> None:
    """Refuse what is asked of the form of the result and makes no sense. Raises: Refusal."""
    if options.canonical_zero and not BY_NUMBER[options.output].is_packed:
        raise _invalid("canonical_zero", "it is for OUTPUT_FORM_PACKED only; ask for that form, or leave it out")


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
    """Refuse a group of tied channels of which the report would not fit into one message. Raises: Refusal."""
    for stop in plan.stages:
        for group in stop.groups:
            names = sum(_LONGEST_CHARACTER * len(tie.parameter) for tie in group.ties)
            if names > limits.GROUP_NAMES_BYTES:
                path = f"recipe.rules[{stop.rule}].granularity.units"
                raise _invalid(
                    path,
                    f"group {group.name[:80]!r} ties {len(group.ties):,} tensors, whose names take more than the "
                    f"{limits.GROUP_NAMES_BYTES:,} bytes that the report has for them",
                )


def plan_messages(plan: Plan, last: pb.Plan) -> Iterator[pb.PruneResponse]:
    """Give the messages of a plan, none too large; the fields of `last` go with the last one."""
    for tensors, is_last in _batches(map(_tensor_plan, plan.parameters)):
        message = pb.Plan(tensors=tensors, last=is_last)
        if is_last:
            message.MergeFrom(last)
        yield pb.PruneResponse(plan=message)


def report_messages(report: Report, last: pb.Report) -> Iterator[pb.PruneResponse]:
    """Give the messages of a report, none too large; the fields of `last` go with the last one, and the totals."""
    last.totals.CopyFrom(_totals(report))
    tensors: Iterator[pb.TensorReport | pb.GroupReport] = map(_tensor_report, report.tensors)
    for batch, is_last in _batches(chain(tensors, map(_group_report, report.groups))):
        message = pb.Report(
            tensors=[each for each in batch if isinstance(each, pb.TensorReport)],
            groups=[each for each in batch if isinstance(each, pb.GroupReport)],
            last=is_last,
        )
        if is_last:
            message.MergeFrom(last)
        yield pb.PruneResponse(report=message)


def _tensor_plan(parameter: PlannedParameter) -> pb.TensorPlan:
    return pb.TensorPlan(
        name=parameter.name,
        dtype=parameter.dtype,
        shape=parameter.shape,
        rules=parameter.rules,
        not_selected=_NOT_SELECTED[parameter.not_selected],
    )


def _tensor_report(tensor: TensorReport) -> pb.TensorReport:
    return pb.TensorReport(
        name=tensor.name,
        entries=tensor.entries,
        pruned_before=tensor.pruned_before,
        pruned=tensor.pruned,
        threshold=tensor.threshold,
    )


def _group_report(group: GroupReport) -> pb.GroupReport:
    return pb.GroupReport(
        rule=group.rule,
        name=group.name,
        units=group.units,
        kept=group.kept,
        tensors=group.tensors,
        config=group.config,
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
