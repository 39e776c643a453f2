"""Formats PRUNED, MASKED, MASK and REPORT: each tensor leaves as soon as it is its turn, for its header left before."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pruning_engine.execution.parameters import ResultTensor
from pruning_engine.planning.plan import PlannedParameter
from pruning_service.outputs.output import InputOrder, Part, Stored, part_of


class OrderedOutput:
    """An `Output` whose file's header was known before any tensor; in format REPORT nothing is left to send.

    The tensors that `last` names, which others need for their alignment, are held until all others have been sent.
    """

    negative_zeros = 0

    def __init__(self, parameters: Iterable[PlannedParameter], last: Sequence[str] = ()) -> None:
        self._order = InputOrder(parameters)
        self._last: dict[str, Stored | None] = dict.fromkeys(last)

    def encode(self, results: Sequence[ResultTensor]) -> Sequence[ResultTensor]:
        """Return the tensors as they are."""
        return results

    def add(self, name: str, encoded: Sequence[Stored]) -> Iterator[Part]:
        """Take the tensors of one parameter; return the bytes of each tensor whose turn has come."""
        for result in self._order.add(name, encoded):
            if result.spec.name in self._last:
                self._last[result.spec.name] = result
            else:
                yield part_of(result)

    def finish(self, metadata: Mapping[str, str]) -> Iterator[Part]:  # noqa: ARG002 - sent with the header
        """Return the bytes of the tensors that come last."""
        self._order.check_complete()
        return (part_of(held) for held in self._last.values() if held is not None)
