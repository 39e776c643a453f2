"""How many bytes of tensors are held at once, from the plan alone: what a server must reserve.

The simulation walks the schedule that the pruning itself walks, counting what was received and has not left, the
masks made, and results that wait for their turn to leave in the input's order.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pruning_engine.parameters import TensorSpec
from pruning_engine.schedule import Leave, Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One parameter: what makes it up, and the bytes it takes from its arrival to its leaving.

    `made_bytes` is the part of its results that does not lie in the memory of its sources or its mask.
    """

    sources: tuple[str, ...]
    rules: tuple[int, ...]
    source_bytes: int
    mask_bytes: int
    result_bytes: int
    made_bytes: int


def peak_bytes(parameters: Sequence[Held], arrivals: Sequence[TensorSpec], barriers: Collection[int]) -> int:
    """Give the most bytes held at one time when tensors arrive in the order of `arrivals`."""
    schedule = Schedule([parameter.rules for parameter in parameters], barriers)
    owner = {name: index for index, parameter in enumerate(parameters) for name in parameter.sources}
    missing = [len(parameter.sources) for parameter in parameters]
    done: set[int] = set()
    turn = held = peak = 0
    for tensor in arrivals:
        index = owner[tensor.name]
        held += tensor.nbytes
        missing[index] -= 1
        peak = max(peak, held)
        if missing[index]:
            continue
        held += parameters[index].mask_bytes
        peak = max(peak, held)
        for step in schedule.add(index):
            if isinstance(step, Leave):
                parameter = parameters[step.parameter]
                done.add(step.parameter)
                peak = max(peak, held + parameter.made_bytes)
                held += parameter.result_bytes - parameter.source_bytes - parameter.mask_bytes
        while turn in done:
            held -= parameters[turn].result_bytes
            turn += 1
    return peak
