"""Parameters whose tensors are read again."""

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial

from pruning_engine.buffer import Buffer
from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.planning.plan import PlannedParameter
from pruning_proto.safetensors.header import TensorEntry
from pruning_service.resources.threads import wait_for_disk
from pruning_service.streams.buffers import Buffers
from pruning_service.streams.byte_streams import TensorStore
from pruning_service.streams.tensor_reader import users_of


async def parameters_again(
    store: TensorStore,
    entries: Sequence[TensorEntry],
    parameters: Sequence[PlannedParameter],
    needs: Callable[[PlannedParameter], bool],
    buffers: Buffers,
) -> AsyncGenerator[ReceivedParameter, None]:
    """Yield each parameter that is needed as soon as it is complete; no other tensors are read.

    `entries`: of all tensors that were received, in their order. Raises: OSError.
    """
    users = users_of([parameter for parameter in parameters if needs(parameter)])
    begin = 0
    for entry in entries:
        size = entry.end - entry.begin
        if entry.name in users:
            memory = buffers.take(size)
            await wait_for_disk(partial(store.read_into, memory.data, begin), size)
            tensor = Buffer.from_bytes(memory, entry.dtype, entry.shape)
            for received in users.pop(entry.name):
                received.tensors[entry.name] = tensor
                if received.is_complete:
                    yield received
            del tensor, received, memory  # the parameters hold them: what was looked at is released
        begin += size
