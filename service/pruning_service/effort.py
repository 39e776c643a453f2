"""How much work a parameter that arrives sets free, so that a small model need not wait behind a large one."""

from math import inf

from pruning_engine.plan import Plan
from pruning_proto.layout import Layout
from pruning_service.intake import Arrived
from pruning_service.worker import LIGHT_BYTES


class Effort:
    """The work of one call, parameter by parameter. Units: bytes that the engine goes through, at the most.

    `is_light`: all of it together is nothing that others would notice, so that receiving need not go on meanwhile.
    """

    def __init__(self, plan: Plan, file: Layout) -> None:
        self.is_light = file.buffer_bytes * len(plan.recipe.rules) <= LIGHT_BYTES
        self._of_all: float | None = None
        if not plan.reproducible:  # an installed method, or singular values: nobody knows how long they take
            self._of_all = inf
        elif any(stop.is_barrier for stop in plan.stops):  # whichever comes last sets all free
            self._of_all = file.buffer_bytes * len(plan.recipe.rules)

    def of(self, arrived: Arrived) -> float:
        """Give what is to be gone through when a parameter has arrived: its bytes, once for each rule."""
        if self._of_all is not None:
            return self._of_all
        return arrived.nbytes * max(1, len(arrived.planned.rules))
