"""How much work a parameter that arrives sets free, so that a small model need not wait behind a large one."""

from collections import Counter
from math import inf
from typing import Final

from pruning_engine.planning.plan import Plan
from pruning_proto.safetensors.header import Layout
from pruning_service.resources.engine_worker import LIGHT_BYTES
from pruning_service.streams.tensor_reader import ReceivedParameter

TENSOR_BYTES: Final = 16 * 1024
"""What is done for a tensor of no entries takes as long as going through so many bytes, or longer."""


class WorkEstimate:
    """The work of one call, parameter by parameter. Units: bytes that the engine goes through, at the most.

    `is_light`: all of it together is nothing that others would notice, so that receiving need not go on meanwhile.
    """

    def __init__(self, plan: Plan, file: Layout) -> None:
        self._whole = (file.buffer_bytes + TENSOR_BYTES * len(file.tensors)) * len(plan.recipe.rules)
        self.is_light = self._whole <= LIGHT_BYTES
        self._is_known = plan.reproducible  # not of an installed method, or of singular values
        barriers = {number for number, stop in enumerate(plan.stages) if stop.is_barrier}
        self._missing = Counter(stop for planned in plan.parameters for stop in planned.stages if stop in barriers)

    def of(self, arrived: ReceivedParameter) -> float:
        """Give what is to be gone through now that a parameter has arrived; to be asked once for each.

        Its own tensors, once for each rule; or, if others have waited for it at a barrier, perhaps all there are.
        """
        if not self._is_known:
            return inf
        planned = arrived.planned
        own = (arrived.nbytes + TENSOR_BYTES * len(arrived.tensors)) * max(1, len(planned.rules))
        waited_at = [stop for stop in planned.stages if stop in self._missing]
        self._missing.subtract(waited_at)
        return own if all(self._missing[stop] for stop in waited_at) else self._whole
