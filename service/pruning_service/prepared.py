"""What follows from the options and the header of a file, before any weight is there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from pruning_engine.emptying import empty
from pruning_engine.history import with_round
from pruning_engine.plan import Plan, TensorSpec, make_plan
from pruning_engine.recipe import Recipe
from pruning_proto import layout
from pruning_proto.layout import Layout
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service import translate
from pruning_service.reservation import peak_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What a plan says of the server."""

    version: str
    device: str
    backlog_bytes: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """The plan, the result's header (empty for forms without a file), what to reserve, and the plan as it is told."""

    plan: Plan
    header: bytes
    peak_bytes: int
    told: list[pb.PruneResponse]

    @property
    def parts(self) -> Iterator[object]:
        """What the plan is made of."""
        return chain(self.plan.parameters, self.plan.results, self.plan.moments)


def prepare(recipe: Recipe, options: pb.PruneOptions, file: Layout, request_id: str, server: Server) -> Prepared:
    """Do all that takes time where tensors are many. Raises: Refusal, PruningError."""
    translate.check_describable(file.tensors)
    specs = [TensorSpec(entry.name, entry.dtype, entry.shape) for entry in file.tensors]
    plan = make_plan(recipe, specs, output=translate.OUTPUTS[options.output], aliases=dict(options.aliases))
    empty(specs)
    header = _result_header(plan, options, file, server.version)
    peak = peak_bytes(plan, file, server.backlog_bytes)
    last = pb.Plan(
        request_id=request_id,
        peak_bytes=peak,
        result_bytes=len(header) + sum(spec.nbytes for spec in plan.results) if header else None,
        seed=plan.recipe.seed,
        device=server.device,
    )
    return Prepared(plan, header, peak, list(translate.plan_messages(plan, last)))


def _result_header(plan: Plan, options: pb.PruneOptions, file: Layout, version: str) -> bytes:
    if options.output in (pb.OUTPUT_FORM_REPORT, pb.OUTPUT_FORM_PLAN):
        return b""
    is_told = options.recipe.HasField("seed") or plan.recipe.is_random
    asked = plan.recipe if is_told else replace(plan.recipe, seed=None)  # the same request gives the same bytes
    results = ((spec.name, spec.dtype, spec.shape) for spec in plan.results)
    return layout.build(results, with_round(file.metadata, asked, version))[0]
