"""What every output does with the parameters that the engine has finished."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

from pruning_engine.execution.parameters import ResultTensor
from pruning_engine.planning.plan import PlannedParameter
from pruning_service.outputs.spooled import SpooledTensor

Stored: TypeAlias = ResultTensor | SpooledTensor
"""A tensor as it is stored in the result's file, until it is sent: in memory, or in a spool file."""

Part: TypeAlias = memoryview | SpooledTensor
"""Bytes of a result: themselves, or the tensor that they are of."""


def part_of(stored: Stored) -> Part:
    """Return the bytes of a tensor."""
    return stored if isinstance(stored, SpooledTensor) else stored.data


class Output(Protocol):
    """Turns finished parameters into the bytes of a file. `negative_zeros` counts -0.0 where the format asks for it.

    For each parameter first `encode`, then `add`, of what was encoded or where it is now; after the last one `finish`.
    """

    @property
    def negative_zeros(self) -> int:
        """The count of -0.0 found."""

    def encode(self, results: Sequence[ResultTensor]) -> Sequence[ResultTensor]:
        """Return the tensors of one parameter as they are stored in the file. Work for the engine's thread."""

    def add(self, name: str, encoded: Sequence[Stored]) -> Iterator[Part]:
        """Take the tensors of one parameter; return the bytes of all tensors that can be sent now."""

    def finish(self, metadata: Mapping[str, str]) -> Iterator[Part]:
        """Return the bytes that remain to be sent, after all parameters; `metadata` is the file's.

        Raises: LayoutError if two tensors have the same name.
        """


class InputOrder:
    """Holds back parameters until it is their turn: after all that come before them in the input."""

    def __init__(self, parameters: Iterable[PlannedParameter]) -> None:
        self._expected = deque(parameter.name for parameter in parameters)
        self._waiting: dict[str, Sequence[Stored]] = {}

    def add(self, name: str, results: Sequence[Stored]) -> Iterator[Stored]:
        """Take the tensors of one parameter; yield those of all parameters whose turn has come."""
        self._waiting[name] = results
        while self._expected and self._expected[0] in self._waiting:
            yield from self._waiting.pop(self._expected.popleft())

    def check_complete(self) -> None:
        """Make sure that every parameter has had its turn."""
        if self._expected:
            raise RuntimeError("a parameter of the plan has not come out of the engine")
