"""A plan carried out on tensors that are all there: no stream, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from pruning_engine.execution.executor import Pruning
from pruning_engine.execution.parameters import ReceivedParameter, ResultTensor
from pruning_engine.kernels.backend import AnyBuffer
from pruning_engine.kernels.devices import backend_for
from pruning_engine.planning.plan import Plan
from pruning_engine.report import Report


@dataclass(frozen=True, slots=True)
class PrunedBuffers:
    """The tensors of each parameter, by the name of its weight in the input, and what was done."""

    results: Mapping[str, list[ResultTensor]]
    report: Report


def prune_buffers(
    plan: Plan, tensors: Mapping[str, AnyBuffer], *, device: str = "cpu", in_place: bool = False
) -> PrunedBuffers:
    """Carry out a plan on buffers, by their names in the input. Parameters whose weight is not among them are left out.

    `in_place`: the buffers' memory may be overwritten, and the results be in it.
    Raises: CheckpointError for NaN and for masks that are not 0 and 1; MismatchError for a count above what is still
        unpruned.
    """
    pruning = Pruning(plan, backend=backend_for(device), in_place=in_place)
    finished = pruning.add_all(
        [
            ReceivedParameter(planned, {name: tensors[name] for name in planned.sources})
            for planned in plan.parameters
            if planned.weight in tensors
        ]
    )
    return PrunedBuffers({state.planned.weight: state.results for state in finished}, pruning.report())
