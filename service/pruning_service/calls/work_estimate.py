"""How much work each received parameter causes, so that a small model need not wait behind a large one."""

from collections import Counter
from math import inf
from typing import Final

from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.planning.plan import Plan
from pruning_proto.safetensors.header import Layout
from pruning_service.resources.engine_worker import LIGHT_BYTES

TENSOR_BYTES: Final = 16 * 1024
"""What is done for a tensor without entries takes at least as long as processing this many bytes."""


class WorkEstimate:
    """The work of one call, parameter by parameter. Units: bytes that the engine processes, at most.

    `is_light`: all of it together is too little to be noticed by others, so that receiving need not go on meanwhile.
    """

    def __init__(self, plan: Plan, file: Layout) -> None:
        self._whole = (file.buffer_bytes + TENSOR_BYTES * len(file.tensors)) * len(plan.recipe.rules)
        self.is_light = self._whole <= LIGHT_BYTES
        self._is_known = plan.reproducible  # not of an installed method, or of singular values
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
