"""How much work each received parameter causes, so that a small model need not wait behind a large one."""

from collections import Counter
from math import inf
from typing import Final

from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.planning.plan import Plan
from pruning_engine.recipe import Rule
from pruning_proto.safetensors.header import Layout
from pruning_service.resources.engine_worker import LIGHT_BYTES

TENSOR_BYTES: Final = 16 * 1024
"""What is done for a tensor without entries takes at least as long as processing this many bytes."""

POSITION_BYTES: Final = 256
"""What is done for a coupled position of a tensor, and for a unit, takes at least as long as processing this."""


class WorkEstimate:
    """The work of one call, parameter by parameter. Units: bytes that the engine processes, at most.

    `is_light`: all of it together is too little to be noticed by others, so that receiving need not go on meanwhile.
    """

    def __init__(self, plan: Plan, file: Layout) -> None:
        self._whole = (file.buffer_bytes + TENSOR_BYTES * len(file.tensors)) * len(plan.recipe.rules) + _coupled(plan)
        self._is_known = plan.reproducible and not any(map(_solves, plan.recipe.rules))
        self.is_light = self._is_known and self._whole <= LIGHT_BYTES
        barriers = {number for number, stage in enumerate(plan.stages) if stage.is_barrier}
        self._missing = Counter(stage for planned in plan.parameters for stage in planned.stages if stage in barriers)

    def take_cost(self, received: ReceivedParameter) -> float:
        """Return what is processed now that a parameter has been received, and count it as received.

        Its own tensors, once for each rule; or, if others have waited for it at a barrier, perhaps all parameters.
        """
        if not self._is_known:
            return inf
        planned = received.planned
        own = (received.nbytes + TENSOR_BYTES * len(received.tensors)) * max(1, len(planned.rules))
        waited_at = [stage for stage in planned.stages if stage in self._missing]
        self._missing.subtract(waited_at)
        return own if all(self._missing[stage] for stage in waited_at) else self._whole


def _solves(rule: Rule) -> bool:
    """Whether a rule solves equations, or searches: for that, bytes say little of the time that it takes."""
    score = rule.score
    return score.eliminates or score.changes_weights or rule.swaps is not None or rule.update is not None


def _coupled(plan: Plan) -> int:
    """Return the work of groups: it depends on their number and their units, not on the bytes of their tensors."""
    groups = [group for stage in plan.stages for group in stage.groups]
    positions = sum(tie.units * tie.unit_positions for group in groups for tie in group.ties)
    units = sum(group.units for group in groups)
    return TENSOR_BYTES * sum(len(group.ties) for group in groups) + POSITION_BYTES * (positions + units)
