"""A parameter as it enters the engine, and its tensors as they leave."""

from dataclasses import dataclass, field

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.kernels.backend import AnyBuffer
from pruning_engine.planning.plan import PlannedParameter


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedParameter:
    """A planned parameter and its tensors that have been received, by their names in the input."""

    planned: PlannedParameter
    tensors: dict[str, AnyBuffer] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether all its tensors have been received."""
        return len(self.tensors) == len(self.planned.sources)

    @property
    def nbytes(self) -> int:
        """Bytes of all its tensors that have been received."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


@dataclass(frozen=True, slots=True, eq=False)
class ResultTensor:
    """A tensor of a result: its name, dtype and shape in the file, and its entries."""

    spec: TensorSpec
    buffer: AnyBuffer

    @property
    def data(self) -> memoryview:
        """Its bytes in C order."""
        data: memoryview = self.buffer.host().data
        return data
