"""Results on their way out: in the order that their parameters came in, as bytes of the file that they make."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.prune import Parameter, Pruning
from pruning_engine.planning.plan import PlannedParameter
from pruning_service.streams.tensor_reader import ReceivedParameter


@dataclass(frozen=True, slots=True)
class ResultTensor:
    """A tensor of a result: what the file's header says of it, and its entries in C order, on the CPU."""

    spec: TensorSpec
    tensor: torch.Tensor

    @property
    def data(self) -> memoryview:
        """View its bytes."""
        return self.tensor.reshape(-1).view(torch.uint8).numpy().data


Finished: TypeAlias = tuple[str, list[ResultTensor]]
"""A parameter that has left the engine: its logical name, and the tensors that it leaves as."""


class Results(Protocol):
    """What becomes of parameters when they have left the engine. `negative_zeros` counts -0.0, where that is asked."""

    @property
    def negative_zeros(self) -> int:
        """How many -0.0 there were."""

    def finished(self, pruning: Pruning, arrived: ReceivedParameter) -> list[Finished]:
        """Give those that are finished now that one has arrived. Work for the engine's thread."""

    def leaving(self, finished: Finished) -> Iterator[memoryview]:
        """Take one that is finished; give the bytes of all that may be sent now."""

    def rest(self, metadata: Mapping[str, str]) -> Iterator[memoryview]:
        """Give the bytes that are left to be sent, once all are finished; `metadata` is the file's."""


class OrderedResults:
    """Results whose file's header has left before them: each leaves as soon as it is its turn."""

    negative_zeros = 0

    def __init__(self, parameters: Sequence[PlannedParameter]) -> None:
        self._order = InputOrder(parameters)

    def finished(self, pruning: Pruning, arrived: ReceivedParameter) -> list[Finished]:
        """Give what is finished."""
        planned = arrived.planned
        if planned.passes_through:
            passed = [ResultTensor(spec, arrived.tensors[spec.name][1]) for spec in planned.results]
            return [(planned.name, passed)]
        return [
            (pruned.planned.name, [ResultTensor(spec, pruned.tensors[spec.name]) for spec in pruned.planned.results])
            for pruned in pruning.add(Parameter(planned, arrived.typed()))
        ]

    def leaving(self, finished: Finished) -> Iterator[memoryview]:
        """Give the bytes of each tensor whose turn has come."""
        return (result.data for result in self._order.add(*finished))

    def rest(self, metadata: Mapping[str, str]) -> Iterator[memoryview]:  # noqa: ARG002 - it has left with the header
        """Give nothing: all have left."""
        self._order.check_complete()
        return iter(())


class InputOrder:
    """Holds back what is finished before its turn. A parameter's turn comes after all before it in the file."""

    def __init__(self, parameters: Sequence[PlannedParameter]) -> None:
        self._expected = deque(parameter.name for parameter in parameters)
        self._waiting: dict[str, list[ResultTensor]] = {}

    def add(self, name: str, results: list[ResultTensor]) -> Iterator[ResultTensor]:
        """Take the results of one parameter; give all whose turn has come."""
        self._waiting[name] = results
        while self._expected and self._expected[0] in self._waiting:
            yield from self._waiting.pop(self._expected.popleft())

    def check_complete(self) -> None:
        """Make sure that every parameter has had its turn."""
        if self._expected:
            raise RuntimeError("a parameter of the plan has not come out of the engine")
