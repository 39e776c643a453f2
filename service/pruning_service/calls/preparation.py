"""What follows from the options and the header of a file, before any weight is there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.planning.plan import Plan
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import Recipe
from pruning_engine.runtime.emptying import empty
from pruning_proto.formats import BY_NUMBER
from pruning_proto.packed import format as packed_layout
from pruning_proto.safetensors import header as layout
from pruning_proto.safetensors.header import Layout
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.calls.work_estimate import WorkEstimate
from pruning_service.messages import translate
from pruning_service.messages.history import with_round
from pruning_service.resources.memory_estimate import peak_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What a plan says of the server."""

    version: str
    device: str
    backlog_bytes: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """The plan, the result's metadata and header, what to reserve, how much work it is, and the plan as it is told.

    `metadata` is None for forms without a file. `header` is empty for these, and for those whose header is known only
    when all has been pruned.
    """

    plan: Plan
    metadata: Mapping[str, str] | None
    header: bytes
    peak_bytes: int
    effort: WorkEstimate
    told: list[pb.PruneResponse]

    @property
    def is_late(self) -> bool:
        """Whether there is a file whose header is not known yet."""
        return self.metadata is not None and not self.header

    @property
    def parts(self) -> Iterator[object]:
        """What the plan is made of."""
        return chain(self.plan.parameters, self.plan.results, self.plan.memory_profile)


def prepare(recipe: Recipe, options: pb.PruneOptions, file: Layout, request_id: str, server: Server) -> Prepared:
    """Do all that takes time where tensors are many. Raises: Refusal, PruningError."""
    translate.check_describable(file.tensors)
    packed_layout.check_not_packed(file.metadata)
    specs = [TensorSpec(entry.name, entry.dtype, entry.shape) for entry in file.tensors]
    plan = make_plan(recipe, specs, output=translate.OUTPUTS[options.output], aliases=dict(options.aliases))
    translate.check_groups_describable(plan)
    empty(specs)
    output = BY_NUMBER[options.output]
    if output.is_packed:
        packed_layout.check_names((spec.name, spec.dtype, spec.shape) for spec in plan.results)
    metadata = _result_metadata(plan, options, file, server.version)
    header = b"" if metadata is None or output.header_is_late else _result_header(plan, metadata)
    peak = peak_bytes(plan, file, server.backlog_bytes, is_late=output.header_is_late, is_made_anew=output.is_packed)
    last = pb.Plan(
        request_id=request_id,
        peak_bytes=peak,
        result_bytes=len(header) + sum(spec.nbytes for spec in plan.results) if header else None,
        seed=plan.recipe.seed,
        device=server.device,
    )
    return Prepared(plan, metadata, header, peak, WorkEstimate(plan, file), list(translate.plan_messages(plan, last)))


def _result_metadata(plan: Plan, options: pb.PruneOptions, file: Layout, version: str) -> dict[str, str] | None:
    if not BY_NUMBER[options.output].has_file:
        return None
    is_told = options.recipe.HasField("seed") or plan.recipe.is_random
    asked = plan.recipe if is_told else replace(plan.recipe, seed=None)  # the same request gives the same bytes
    return with_round(file.metadata, asked, version)


def _result_header(plan: Plan, metadata: Mapping[str, str]) -> bytes:
    return layout.build(((spec.name, spec.dtype, spec.shape) for spec in plan.results), metadata)[0]
