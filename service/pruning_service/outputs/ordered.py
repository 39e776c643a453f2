"""Formats PRUNED, MASKED, MASK and REPORT: each tensor leaves as soon as it is its turn, for its header left before."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pruning_engine.execution.parameters import ResultTensor
from pruning_engine.planning.plan import PlannedParameter
from pruning_service.outputs.output import InputOrder


class OrderedOutput:
    """An `Output` whose file's header was known before any tensor; in format REPORT nothing is left to send."""

    negative_zeros = 0

    def __init__(self, parameters: Iterable[PlannedParameter]) -> None:
        self._order = InputOrder(parameters)

    def encode(self, results: Sequence[ResultTensor]) -> Sequence[ResultTensor]:
        """Return the tensors as they are."""
        return results

    def add(self, name: str, encoded: Sequence[ResultTensor]) -> Iterator[memoryview]:
        """Take the tensors of one parameter; return the bytes of each tensor whose turn has come."""
        return (result.data for result in self._order.add(name, encoded))

    def finish(self, metadata: Mapping[str, str]) -> Iterator[memoryview]:  # noqa: ARG002 - sent with the header
        """Return nothing: all has been sent."""
        self._order.check_complete()
        return iter(())
