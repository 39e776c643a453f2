"""What follows from a request and the header of a file, before any weight has been received."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Final

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.readings import searching_bytes
from pruning_engine.planning.plan import Plan
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import OutputForm
from pruning_engine.report import ModelWarning, WarningKind
from pruning_proto.formats import OutputFormat
from pruning_proto.packed import format as packed_format
from pruning_proto.safetensors import header as safetensors_header
from pruning_proto.safetensors.alignment import postponed
from pruning_proto.safetensors.distributed import check_not_sharded
from pruning_proto.safetensors.header import Layout
from pruning_service.calls.reduced_file import ReducedFile, reduced_file
from pruning_service.messages.history import EarlierRounds, earlier_rounds, with_config, with_round
from pruning_service.messages.plan_and_report import check_describable, check_groups_describable
from pruning_service.messages.recipe import Request
from pruning_service.resources.memory_estimate import Late, compressing_bytes, most_late_bytes, peak_bytes

_RANGE_BYTES: Final = 256
"""What a byte range takes that is not needed, with its message."""

_UNIT_BYTES: Final = 64
"""What the number of a kept unit takes, in the plan and the report."""

_PARAMETER_BYTES: Final = 1024
"""What a parameter takes that comes, beside what each takes of the remaining file."""

_FEW_PARTS: Final = 10_000
"""So many objects are freed in a millisecond or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LateResults:
    """What a call takes whose results wait in a file until their header is known: of that file, and of memory."""

    file_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What will be done with a file, and what is known of its result.

    `file` is what remains of it without units that are left out before any data, and `skipped` the byte ranges that are
    not needed therefore. `output` is the format, whose header is not late where it is known all the same. `metadata` is
    the result's. `header` is the result's too, empty where there is no file or where it is known only after everything
    has been pruned; `last` names the tensors that come last there, in their order, so that all are
    aligned; of a packed file, those that come last in the dense one. `peak_bytes` is what to reserve. `late`: if
    the header is late, what the results could take instead of memory; `results_bytes` is what they do take of a spool
    file, 0 if they are held. `parts` are all objects that there are many of, if there are many: they are to be freed in
    steps.
    """

    file: Layout
    skipped: Sequence[tuple[int, int]]
    plan: Plan
    output: OutputFormat
    metadata: Mapping[str, str]
    header: bytes
    last: Sequence[str]
    peak_bytes: int
    late: LateResults | None
    parts: list[object]
    results_bytes: int = 0

    @property
    def result_bytes(self) -> int | None:
        """The size of the result's file; None if there is none, or its size is not known yet."""
        return len(self.header) + sum(spec.nbytes for spec in self.plan.results) if self.header else None

    @property
    def with_spooled_results(self) -> "Prepared":
        """The same, with results that wait in a file; itself, if its header is not late."""
        late = self.late
        return self if late is None else replace(self, peak_bytes=late.peak_bytes, results_bytes=late.file_bytes)


def prepare(
    request: Request, file: Layout, backlog_bytes: int, version: str, *, can_read_again: bool = False
) -> Prepared:
    """Plan a file; everything that takes long where it has many tensors. Raises: Refusal, PruningError.

    `backlog_bytes` is what the sink may hold of results; `version` goes into the file's history. `can_read_again`: the
    tensors can be read several times, so that rules of global scope that can do without hold none.
    """
    check_describable(file.tensors)
    packed_format.check_not_packed(file.metadata)
    check_not_sharded(file.metadata)
    output = request.output
    earlier = earlier_rounds(file.metadata)
    plan = make_plan(
        request.recipe,
        file.tensors,
        output=OutputForm(output.computed_as),
        aliases=request.aliases,
        history=earlier.recipes,
        options=replace(request.plan_options, can_read_again=can_read_again),
    )
    if earlier.not_read:
        plan = replace(plan, warnings=(*plan.warnings, _history_warning(earlier)))
    check_groups_describable(plan)
    reduced = reduced_file(file, plan.surgery)
    output = replace(output, header_is_late=output.header_is_late and not (output.needs_units and plan.has_known_sizes))
    file = reduced.layout
    if output.is_packed and not request.is_compressed:
        packed_format.check_names((spec.name, spec.dtype, spec.shape) for spec in plan.results)
    metadata = _result_metadata(plan, request, file, version) if output.has_file else {}
    if output.needs_units and not output.header_is_late:
        metadata = with_config(metadata, plan.surgery.groups)
    has_header = output.has_file and not output.header_is_late
    last = _last_in_file(plan) if has_header or output.is_packed else []
    beside = _left_out_bytes(plan, reduced) + searching_bytes(plan)
    beside += compressing_bytes(plan) if request.is_compressed else sum(spec.nbytes for spec in last if has_header)
    peak = partial(peak_bytes, plan, file, backlog_bytes, is_made_anew=output.is_packed)
    late = None
    if output.header_is_late:
        most_bytes = most_late_bytes(plan, is_compressed=request.is_compressed)
        late = LateResults(file_bytes=most_bytes, peak_bytes=beside + peak(Late.IN_FILE))
    return Prepared(
        file=file,
        skipped=reduced.skipped,
        plan=plan,
        output=output,
        metadata=metadata,
        header=_result_header(plan, last, metadata) if has_header else b"",
        last=[spec.name for spec in last],
        peak_bytes=beside + peak(Late.NO if late is None else Late.IN_MEMORY),
        late=late,
        parts=_parts(plan, file),
    )


def _left_out_bytes(plan: Plan, reduced: ReducedFile) -> int:
    """Return what describing takes of units that are left out before any data."""
    if plan.surgery.changes_nothing:
        return 0
    kept = sum(len(group.kept) for group in plan.surgery.groups)
    return _RANGE_BYTES * len(reduced.skipped) + _UNIT_BYTES * kept + _PARAMETER_BYTES * len(plan.surgery.parameters)


def _history_warning(earlier: EarlierRounds) -> ModelWarning:
    rounds = len(earlier.recipes) + earlier.not_read
    return ModelWarning(
        kind=WarningKind.HISTORY_NOT_READ,
        tensor=None,
        message=f"of {rounds:,} earlier rounds in the file's history {earlier.not_read:,} cannot be read here, so the "
        "zeros that they left may count as unpruned weights; with prior `zeros` every zero counts as pruned",
    )


def _parts(plan: Plan, file: Layout) -> list[object]:
    parts = [*file.tensors, *plan.parameters, *plan.results, *plan.memory_profile, *plan.stages]
    parts += plan.surgery.parameters
    return parts if len(parts) > _FEW_PARTS else []


def _result_metadata(plan: Plan, request: Request, file: Layout, version: str) -> dict[str, str]:
    recipe = plan.recipe if request.is_seed_reported else replace(plan.recipe, seed=None)
    return with_round(file.metadata, recipe, version)


def _last_in_file(plan: Plan) -> list[TensorSpec]:
    """Return the tensors that are held until all others have been sent, so that every tensor is aligned."""
    return [plan.results[position] for position in postponed([(spec.dtype, spec.nbytes) for spec in plan.results])]


def _result_header(plan: Plan, last: Sequence[TensorSpec], metadata: Mapping[str, str]) -> bytes:
    held = {spec.name for spec in last}
    specs = chain((spec for spec in plan.results if spec.name not in held), last) if held else plan.results
    return safetensors_header.build(((spec.name, spec.dtype, spec.shape) for spec in specs), metadata)[0]
