"""The readings in which rules of global scope find their cuts while no tensor is held: engine execution/readings."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial

from pruning_engine.buffer import Buffer
from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.execution.readings import Reading, Readings, SampleReading
from pruning_engine.execution.stage_runner import KnownCuts
from pruning_engine.granularities.rankings.entry_search import Blocks
from pruning_engine.kernels.devices import backend_for
from pruning_engine.planning.plan import PlannedParameter
from pruning_service.calls.preparation import Prepared
from pruning_service.resources.engine_worker import EngineWorker
from pruning_service.resources.threads import wait_for_disk
from pruning_service.streams.ahead import one_ahead
from pruning_service.streams.buffers import Buffers
from pruning_service.streams.byte_streams import TensorStore
from pruning_service.streams.tensors_again import parameters_again


class CutSearches:
    """The readings of one call: the `first` perhaps as its tensors come, the `others` from the store."""

    def __init__(self, prepared: Prepared, store: TensorStore, buffers: Buffers, worker: EngineWorker) -> None:
        self._prepared = prepared
        self._store = store
        self._buffers = buffers
        self._worker = worker
        self._readings = Readings(prepared.plan, backend_for(worker.device))
        self._iterator = iter(self._readings)

    async def first(self, received: AsyncIterator[ReceivedParameter]) -> None:
        """Take all parameters as they come, those too that are not looked at. Raises: what `received` raises."""
        await self._look(await self._next(), received)

    async def others(self) -> KnownCuts:
        """Read the parameters until all cuts are known; return these. Raises: PruningError; OSError of the store."""
        while (reading := await self._next()) is not None:
            if isinstance(reading, SampleReading):
                await self._sample(reading)
            else:
                await self._look(reading, self._again(reading.needs))
        return self._readings.known

    def again(self) -> AsyncGenerator[ReceivedParameter, None]:
        """Yield all parameters once more."""
        return self._again(lambda _: True)

    def _again(self, needs: Callable[[PlannedParameter], bool]) -> AsyncGenerator[ReceivedParameter, None]:
        """Yield the parameters that are needed once more."""
        file, plan = self._prepared.file, self._prepared.plan
        return parameters_again(self._store, file.tensors, plan.parameters, needs, self._buffers)

    async def _sample(self, reading: SampleReading) -> None:
        """Take blocks of the parameters that have some, and all of the others."""
        needed = [planned for planned in self._prepared.plan.parameters if reading.needs(planned)]
        whole: set[str] = set()
        async with aclosing(one_ahead(self._blocks(reading, needed, whole))) as found:
            async for planned, blocks, data in found:
                await self._worker.run(partial(reading.add_blocks, planned, blocks, data), data.nbytes)
                del data
        await self._look(reading, self._again(lambda planned: planned.name in whole))

    async def _blocks(
        self, reading: SampleReading, parameters: Sequence[PlannedParameter], whole: set[str]
    ) -> AsyncGenerator[tuple[PlannedParameter, Blocks, Buffer], None]:
        """Yield parameters with blocks that stand for them; add the names of the others to `whole`."""
        begins = {entry.name: entry.begin for entry in self._prepared.file.tensors}
        for planned in parameters:
            blocks = reading.blocks(planned)
            if blocks is None:
                whole.add(planned.name)
                continue
            memory = self._buffers.take(blocks.size)
            begin = begins[blocks.tensor]
            ranges = [(begin + first, begin + last) for first, last in blocks.spans]
            await wait_for_disk(partial(self._store.read_ranges, memory.data, ranges), blocks.size)
            yield planned, blocks, blocks.buffer(memory)
            del memory

    async def _next(self) -> Reading | None:
        """Learn from the last reading, and return the next one."""
        return await self._worker.run(partial(next, self._iterator, None))

    async def _look(self, reading: Reading | None, received: AsyncIterator[ReceivedParameter]) -> None:
        async with aclosing(one_ahead(received)) as parameters:
            async for parameter in parameters:
                if reading is not None and reading.needs(parameter.planned):
                    await self._worker.run(partial(reading.add, parameter), parameter.nbytes)
