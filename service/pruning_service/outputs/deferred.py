"""Results whose header is known only when all of them are there: their sizes hang on what falls.

They are held in the order of the input, in as few bytes as they take; then their header is built, and they leave, each
let go of as it does.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.prune import Parameter, Pruning, spec_of
from pruning_engine.planning.plan import PlannedParameter
from pruning_proto.safetensors import header as layout
from pruning_service.outputs.ordered import Finished, InputOrder, ResultTensor
from pruning_service.streams.tensor_reader import ReceivedParameter


class Encoder(Protocol):
    """What is made of tensors as they leave the engine. `negative_zeros` counts those found on the way."""

    negative_zeros: int

    def shaped(self, result: ResultTensor) -> Iterable[ResultTensor]:
        """Give what stands in the file for a tensor."""

    def metadata(self, metadata: Mapping[str, str], names: Iterable[str]) -> Mapping[str, str]:
        """Give the file's metadata, once all its tensors are there, by these names in order."""


class Unchanged:
    """Makes nothing else of them."""

    negative_zeros = 0

    def shaped(self, result: ResultTensor) -> Iterable[ResultTensor]:
        """Give the tensor."""
        return (result,)

    def metadata(self, metadata: Mapping[str, str], names: Iterable[str]) -> Mapping[str, str]:  # noqa: ARG002
        """Give the metadata as it is."""
        return metadata


class DeferredResults:
    """The tensors of one result: held as they come, until their header can be built."""

    def __init__(self, parameters: Sequence[PlannedParameter], encoder: Encoder) -> None:
        self._order = InputOrder(parameters)
        self._shaping = encoder
        self._held: deque[ResultTensor] = deque()

    @property
    def negative_zeros(self) -> int:
        """How many -0.0 there were."""
        return self._shaping.negative_zeros

    def finished(self, pruning: Pruning, arrived: ReceivedParameter) -> list[Finished]:
        """Give what is finished, as it stands in the file. A tensor that was packed is let go of before the next is."""
        planned = arrived.planned
        if planned.passes_through:
            spec = TensorSpec(planned.name, planned.dtype, planned.shape)
            return [(planned.name, self._shaped([ResultTensor(spec, arrived.tensors[planned.weight][1])]))]
        pruned = deque(pruning.add(Parameter(planned, arrived.typed())))
        finished = []
        while pruned:
            one = pruned.popleft()
            left = [ResultTensor(spec_of(name, tensor), tensor) for name, tensor in one.tensors.items()]
            finished.append((one.planned.name, self._shaped(left)))
        return finished

    def leaving(self, finished: Finished) -> Iterator[memoryview]:
        """Hold a parameter's tensors; give nothing yet."""
        self._held.extend(self._order.add(*finished))
        return iter(())

    def rest(self, metadata: Mapping[str, str]) -> Iterator[memoryview]:
        """Give the header, then the bytes of each tensor, which is then let go of.

        Raises: LayoutError if a name comes twice.
        """
        self._order.check_complete()
        described = ((held.spec.name, held.spec.dtype, held.spec.shape) for held in self._held)
        names = (held.spec.name for held in self._held)
        header = layout.build(described, self._shaping.metadata(metadata, names))[0]
        return self._leave(header)

    def _leave(self, header: bytes) -> Iterator[memoryview]:
        yield memoryview(header)
        while self._held:
            yield self._held.popleft().data

    def _shaped(self, results: Iterable[ResultTensor]) -> list[ResultTensor]:
        return [shaped for result in results for shaped in self._shaping.shaped(result)]
