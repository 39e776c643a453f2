"""How many bytes of tensors are held when, from the plan alone. A server reserves memory by it.

The simulation walks the same schedule as the pruning itself, of barriers alone. It counts what was received and has
not left, the masks made, and results that wait for their turn to leave in the input's order.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from pruning_engine.checkpoints.parameters import TensorDescription, described_bytes
from pruning_engine.planning.scheduler import Finish, Schedule, waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """One parameter: the tensors that make it up, and the bytes that it takes from its arrival until it leaves.

    `source_bytes` counts those too that other parameters share.
    `made_bytes`: what is held beside all that for a moment: the part of its results that is not in the memory of its
    sources or its mask, or what a rule computes with. `derived`: a source, and the bytes of what is computed from it
    and stays with it, such as factors of a Gram matrix.
    """

    sources: tuple[str, ...]
    stages: tuple[int, ...]
    source_bytes: int
    mask_bytes: int
    result_bytes: int
    made_bytes: int
    derived: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class MemoryStep:
    """A parameter has become complete, and everything is done that can be done then.

    Units: `arrived_bytes` arrived since the step before; `held_bytes` is the most that is held during the step;
    `left_bytes` are the sizes of the results that leave, in the order of the input.
    """

    arrived_bytes: int
    held_bytes: int
    left_bytes: tuple[int, ...]


def memory_profile(
    parameters: Sequence[Footprint],
    arrivals: Sequence[TensorDescription],
    barriers: Collection[int],
    size: Callable[[TensorDescription], int] = described_bytes,
) -> Iterator[MemoryStep]:
    """Return what is held, step by step, when tensors arrive in the order of `arrivals`, each of its `size`."""
    schedule = Schedule(waits([parameter.stages for parameter in parameters], barriers), barriers)
    shared = _Shared(parameters, arrivals, size)
    missing = [len(parameter.sources) for parameter in parameters]
    done: set[int] = set()
    turn = held = arrived = 0
    for tensor in arrivals:
        arrived += size(tensor)
        for index in shared.users[tensor.name]:
            missing[index] -= 1
            if missing[index]:
                continue
            held += arrived + parameters[index].mask_bytes + shared.derived_bytes(parameters[index])
            peak = held
            for step in schedule.add(index):
                if isinstance(step, Finish):
                    parameter = parameters[step.parameter]
                    done.add(step.parameter)
                    peak = max(peak, held + parameter.made_bytes)
                    held += parameter.result_bytes - shared.released_bytes(parameter) - parameter.mask_bytes
            left = []
            while turn in done:
                left.append(parameters[turn].result_bytes)
                turn += 1
            held -= sum(left)
            yield MemoryStep(arrived, peak, tuple(left))
            arrived = 0


class _Shared:
    """Which parameters use each tensor: one that several use is held once, until the last of them has finished."""

    def __init__(
        self,
        parameters: Sequence[Footprint],
        arrivals: Sequence[TensorDescription],
        size: Callable[[TensorDescription], int],
    ) -> None:
        self.users: dict[str, list[int]] = {}
        for index, parameter in enumerate(parameters):
            for name in parameter.sources:
                self.users.setdefault(name, []).append(index)
        self._bytes = {tensor.name: size(tensor) for tensor in arrivals if len(self.users[tensor.name]) > 1}
        self._left = {name: len(self.users[name]) for name in self._bytes}
        self._derived: dict[str, int] = {}

    def derived_bytes(self, parameter: Footprint) -> int:
        """Return the bytes that are computed from its sources, where no other parameter has them; once for each."""
        if parameter.derived is None:
            return 0
        source, size = parameter.derived
        before = self._derived.get(source, 0)
        self._derived[source] = max(before, size)
        return self._derived[source] - before

    def released_bytes(self, parameter: Footprint) -> int:
        """Return the bytes of sources that are released as a parameter finishes; to be called once for each."""
        kept = 0
        for name in parameter.sources if self._bytes else ():
            if name in self._left:
                self._left[name] -= 1
                kept += self._bytes[name] if self._left[name] else 0
        return parameter.source_bytes - kept + self._released_derived(parameter)

    def _released_derived(self, parameter: Footprint) -> int:
        if parameter.derived is None or self._left.get(parameter.derived[0], 0):
            return 0
        return self._derived.pop(parameter.derived[0], 0)
