"""Results on their way out: in the order that their parameters came in, as bytes."""

from collections import deque
from collections.abc import Iterator, Sequence

import torch

from pruning_engine.plan import PlannedParameter


class InputOrder:
    """Holds back what is finished before its turn. A parameter's turn comes after all before it in the file."""

    def __init__(self, parameters: Sequence[PlannedParameter]) -> None:
        self._expected = deque(parameter.name for parameter in parameters)
        self._waiting: dict[str, list[torch.Tensor]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether every parameter has had its turn."""
        return not self._expected

    def add(self, name: str, tensors: list[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Take the result tensors of one parameter; give all whose turn has come."""
        self._waiting[name] = tensors
        while self._expected and self._expected[0] in self._waiting:
            yield from self._waiting.pop(self._expected.popleft())


def result_bytes(tensor: torch.Tensor) -> memoryview:
    """View a contiguous CPU tensor as its bytes in C order."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data
