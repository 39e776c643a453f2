"""Results that wait in a spool file, and not in memory, until the header of their file is known."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.parameters import ResultTensor
from pruning_proto.packed.codec import Array
from pruning_proto.spans import spans
from pruning_service.resources.memory_estimate import SPOOLED_PIECE_BYTES
from pruning_service.resources.spool import Spool
from pruning_service.resources.threads import wait_for_disk


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledTensor:
    """A tensor of a result in a spool file: its bytes are `begin` to `end` there."""

    spec: TensorSpec
    begin: int
    end: int


class ResultSpool:
    """The tensors of one result in a spool file, behind what is in it already. `take` returns memory of a size."""

    def __init__(self, spool: Spool, take: Callable[[int], Array]) -> None:
        self._spool = spool
        self._take = take

    async def keep(self, results: Sequence[ResultTensor]) -> list[SpooledTensor]:
        """Write tensors into the file. Raises: OSError."""
        return [await self._kept(result) for result in results]

    async def read(self, tensor: SpooledTensor) -> AsyncGenerator[memoryview, None]:
        """Yield the bytes of a tensor in pieces. Raises: OSError."""
        for begin, end in spans(tensor.end - tensor.begin, SPOOLED_PIECE_BYTES):
            piece = self._take(end - begin).data
            await wait_for_disk(partial(self._spool.read_into, piece, tensor.begin + begin), len(piece))
            yield piece
            del piece  # it may be used again once it has been sent

    async def _kept(self, result: ResultTensor) -> SpooledTensor:
        begin, data = self._spool.written_bytes, result.data
        await wait_for_disk(partial(self._spool.append, data), len(data))
        return SpooledTensor(spec=result.spec, begin=begin, end=begin + len(data))
