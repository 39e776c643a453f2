"""The results of a part: in the order of its file, and what is reported of them."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.execution.parameters import ResultTensor
from pruning_engine.execution.whole_report import Done
from pruning_engine.planning.plan import PlannedParameter


class ResultSink(Protocol):
    """Takes the results of a part, in the order of its file."""

    def write(self, name: str, data: memoryview) -> object:
        """Take all bytes of a result, which stay as they are until nobody refers to them.

        Raises: whatever ends the part.
        """


class FileOrder:
    """Hands results on to a sink in the order of their file; those of other files are dropped.

    `copies`: the names of results that `copy` returns when it is their turn.
    """

    def __init__(
        self, names: Sequence[str], sink: ResultSink, copies: Collection[str], copy: Callable[[str], memoryview]
    ) -> None:
        self._names = names
        self._sink = sink
        self._copies = copies
        self._copy = copy
        self._next = 0
        self._places = frozenset(names)
        self._held: dict[str, ResultTensor] = {}
        self._write()

    def add(self, results: Iterable[ResultTensor]) -> None:
        """Take the results of a parameter; write all whose turn has come. Raises: what the sink raises."""
        self._held.update((result.spec.name, result) for result in results if result.spec.name in self._places)
        self._write()

    def _write(self) -> None:
        while self._next < len(self._names):
            name = self._names[self._next]
            if name in self._held:
                self._sink.write(name, self._held.pop(name).data)
            elif name in self._copies:
                self._sink.write(name, self._copy(name))
            else:
                break
            self._next += 1

    def check_complete(self) -> None:
        """Make sure that every result has been written."""
        if self._next < len(self._names):
            raise RuntimeError(f"result {self._names[self._next]!r} has not come out of the engine")


def most_held(parameters: Iterable[PlannedParameter], names: Sequence[str], copies: Collection[str]) -> int:
    """Return the most bytes of results that wait for others which come before them in the file, but for copies."""
    names = [name for name in names if name not in copies]
    places, held, following, most = frozenset(names), dict[str, int](), 0, 0
    for parameter in parameters:
        held.update((spec.name, spec.nbytes) for spec in parameter.results if spec.name in places)
        while following < len(names) and names[following] in held:
            del held[names[following]]
            following += 1
        most = max(most, sum(held.values()))
    return most


class Tally:
    """Counts what was done to a part's own parameters, of all that it carries out."""

    def __init__(self, own: Iterable[PlannedParameter]) -> None:
        self._own = {parameter.name for parameter in own}
        self._before: int | None = 0
        self._zeros: int | None = 0

    def add(self, state: ParameterState) -> None:
        """Take a parameter that is finished."""
        if state.planned.name in self._own:
            self._before = _sum(self._before, state.zeros_before)
            self._zeros = _sum(self._zeros, state.zeros)

    def done(self, done: Done) -> Done:
        """Return what was done to its own, from what was done to all."""
        own = {name: report for name, report in done.tensors.items() if name in self._own}
        return replace(done, tensors=own, zeros_before=self._before, zeros=self._zeros)


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second
