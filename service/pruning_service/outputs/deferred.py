"""Format REMOVED: a file whose header is known only once all tensors are there, since their sizes depend on the data.

The tensors are held in the order of the input, in as few bytes as they take, in memory or in a spool file. Then the
header is built, with tensors of odd sizes last, and they are sent, each released as it leaves.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pruning_engine.execution.parameters import ResultTensor
from pruning_engine.planning.plan import PlannedParameter
from pruning_proto.safetensors import header as safetensors_header
from pruning_proto.safetensors.alignment import postponed
from pruning_service.outputs.output import InputOrder, Part, Stored, part_of


class DeferredOutput:
    """An `Output` that holds all tensors until their header can be built. Subclasses encode them."""

    def __init__(self, parameters: Iterable[PlannedParameter]) -> None:
        self.negative_zeros = 0
        self._order = InputOrder(parameters)
        self._held: deque[Stored] = deque()

    def encode(self, results: Sequence[ResultTensor]) -> Sequence[ResultTensor]:
        """Return the tensors as they are."""
        return results

    def add(self, name: str, encoded: Sequence[Stored]) -> Iterator[Part]:
        """Hold the tensors of one parameter; return nothing yet."""
        self._held.extend(self._order.add(name, encoded))
        return iter(())

    def finish(self, metadata: Mapping[str, str]) -> Iterator[Part]:
        """Return the header, then each tensor, which is then released.

        Raises: LayoutError if two tensors have the same name.
        """
        self._order.check_complete()
        self._align()
        return self._send(self._header(metadata))

    def _align(self) -> None:
        """Put the tensors in an order in which each is aligned."""
        last = postponed([(held.spec.dtype, held.spec.nbytes) for held in self._held])
        if last:
            held, positions = list(self._held), set(last)
            self._held = deque(each for position, each in enumerate(held) if position not in positions)
            self._held.extend(held[position] for position in last)

    def _header(self, metadata: Mapping[str, str]) -> bytes:
        """Return the file's header, once all its tensors are there."""
        described = ((held.spec.name, held.spec.dtype, held.spec.shape) for held in self._held)
        names = [held.spec.name for held in self._held]
        return safetensors_header.build(described, self._file_metadata(metadata, names))[0]

    def _file_metadata(self, metadata: Mapping[str, str], names: Iterable[str]) -> Mapping[str, str]:  # noqa: ARG002
        """Return the file's metadata, once all its tensors are there, by these names in order."""
        return metadata

    def _send(self, header: bytes) -> Iterator[Part]:
        yield memoryview(header)
        while self._held:
            yield part_of(self._held.popleft())
