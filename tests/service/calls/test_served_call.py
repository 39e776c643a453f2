"""A call counts as under way until its last thread has ended."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable

from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.calls.prune_call import CallResources
from pruning_service.calls.served_call import ServedCall
from pruning_service.resources.device_faults import DeviceFaults
from pruning_service.resources.engine_worker import EngineWorker
from pruning_service.resources.memory_budget import Budget
from pruning_service.resources.threads import SMALL_BYTES, THREADS, run_in_thread_if_large
from pruning_service.status import Refusal
from pruning_service.streams.request_stream import RequestStream
from pruning_service.streams.response_stream import ResponseStream
from pruning_service.streams.tensor_reader import HeaderLimits
from tests.service.raw import l1, options

LARGE = options(b"", [l1(0.5, select=pb.Selector(exclude=["a" * SMALL_BYTES]))]).SerializeToString()


class NoEnd:
    """Ends nothing early: the client of these tests leaves."""

    async def send_status(self, refusal: Refusal) -> None: ...

    def reset(self) -> None: ...


async def one_message() -> AsyncIterator[bytes]:
    yield LARGE
    await asyncio.Event().wait()


def served_call(worker: EngineWorker) -> ServedCall:
    resources = CallResources(
        budget=Budget(1 << 30, 0),
        worker=worker,
        faults=DeviceFaults("cpu"),
        limits=HeaderLimits(header_bytes=1 << 20, max_tensors=10),
        version="1",
    )
    return ServedCall(RequestStream(one_message(), 60), ResponseStream(1, 60), NoEnd(), "id", resources)


async def nothing() -> None: ...


def test_a_call_is_under_way_until_its_thread_ends() -> None:
    worker, free = EngineWorker("cpu"), threading.Event()

    async def leave() -> None:
        running: set[ServedCall] = set()
        busy: list[Awaitable[bool]] = [
            asyncio.ensure_future(run_in_thread_if_large(free.wait, SMALL_BYTES + 1)) for _ in range(THREADS)
        ]
        responses = served_call(worker).responses(running, nothing())
        client = asyncio.ensure_future(anext(responses))
        await asyncio.sleep(0.1)  # its options wait for a thread
        client.cancel()
        await asyncio.wait({client})
        await asyncio.sleep(0.1)
        assert len(running) == 1
        free.set()
        await asyncio.gather(*busy)
        while running:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(leave(), 60))
    worker.close()
