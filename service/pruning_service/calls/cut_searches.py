"""The readings in which rules of global scope find their cuts while no tensor is held: engine execution/readings."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial

from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.execution.readings import Reading, Readings
from pruning_engine.execution.stage_runner import KnownCuts
from pruning_engine.kernels.devices import backend_for
from pruning_service.calls.preparation import Prepared
from pruning_service.resources.engine_worker import EngineWorker
from pruning_service.streams.ahead import one_ahead
from pruning_service.streams.buffers import Buffers
from pruning_service.streams.byte_streams import TensorStore
from pruning_service.streams.tensors_again import parameters_again


class CutSearches:
    """The readings of one call: the `first` as its tensors come, the `others` from the store, where they are then."""

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
            await self._look(reading, self.again(reading))
        return self._readings.known

    def again(self, reading: Reading | None = None) -> AsyncGenerator[ReceivedParameter, None]:
        """Yield the parameters that a reading needs once more; None: all of them."""
        needs = (lambda _: True) if reading is None else reading.needs
        file, plan = self._prepared.file, self._prepared.plan
        return parameters_again(self._store, file.tensors, plan.parameters, needs, self._buffers)

    async def _next(self) -> Reading | None:
        """Learn from the last reading, and return the next one."""
        return await self._worker.run(partial(next, self._iterator, None))

    async def _look(self, reading: Reading | None, received: AsyncIterator[ReceivedParameter]) -> None:
        async with aclosing(one_ahead(received)) as parameters:
            async for parameter in parameters:
                if reading is not None and reading.needs(parameter.planned):
                    await self._worker.run(partial(reading.add, parameter), parameter.nbytes)
