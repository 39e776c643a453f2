"""Device memory is reserved for a call before its plan is sent, and released when it is done; no device is needed."""

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest

from pruning_proto.framing import Data
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.calls.prune_call import CallResources, PruneCall
from pruning_service.local import _Sink, _Source
from pruning_service.resources.device_faults import DeviceFaults
from pruning_service.resources.devices import share_of
from pruning_service.resources.engine_worker import EngineWorker
from pruning_service.resources.memory_budget import OF_DEVICE, Budget
from pruning_service.streams.tensor_reader import HeaderLimits
from tests.service.raw import file, l1, options

MIB = 1 << 20
MODEL = file({"a.weight": ("F32", [64, 64], np.ones(64 * 64, np.float32).tobytes())})
ENOUGH = 1024 * MIB


@dataclass
class Told:
    """What a call sends, and what was reserved on the device when its plan came, and when its report did."""

    budget: Budget
    failure: pb.Failure | None = None
    reserved: list[int] = field(default_factory=list)

    def receive(self, message: pb.PruneResponse | Data) -> None:
        """Take a message, or bytes of the result."""
        if isinstance(message, pb.PruneResponse):
            self.reserved.append(self.budget.reserved_bytes)
            self.failure = message.failure if message.HasField("failure") else None


async def call(budget: Budget) -> Told:
    """Make one call on a device whose memory is `budget`."""
    told = Told(budget)
    worker = EngineWorker("cpu")
    resources = CallResources(
        budget=Budget(ENOUGH, 0),
        worker=worker,
        faults=DeviceFaults("cpu"),
        limits=HeaderLimits(header_bytes=MIB, max_tensors=10),
        version="1",
        device_budget=budget,
    )
    sent = options(MODEL, [l1(0.5)]).options
    source, sink = _Source(sent, [MODEL], None, is_near=True), _Sink(told.receive)
    await PruneCall(source, sink, sink, "id", resources).run()
    worker.close()
    return told


def device(total_bytes: int, queue_seconds: float = 0) -> Budget:
    return Budget(total_bytes, queue_seconds, kind=OF_DEVICE)


def test_device_memory_is_held_from_the_plan_until_the_report() -> None:
    told = asyncio.run(call(device(ENOUGH)))
    assert told.failure is None
    plan, *_, report = told.reserved
    assert plan > 64 * MIB
    assert (report, told.budget.reserved_bytes) == (0, 0)


def test_call_that_can_never_fit_on_the_device_is_refused() -> None:
    told = asyncio.run(call(device(MIB)))
    assert told.failure is not None
    assert told.failure.reason == Reason.MODEL_TOO_LARGE.value
    assert "bytes of device memory" in told.failure.message
    assert "PRUNING_DEVICE_MEMORY_BYTES" in told.failure.message
    assert told.budget.reserved_bytes == 0


def test_call_that_does_not_fit_now_waits_and_is_refused() -> None:
    async def beside_another() -> Told:
        budget = device(ENOUGH, queue_seconds=0.01)
        with budget.reservation() as another:
            await another.grow(ENOUGH - MIB)
            return await call(budget)

    told = asyncio.run(beside_another())
    assert told.failure is not None
    assert told.failure.reason == Reason.NO_ROOM.value
    assert "device memory" in told.failure.message
    assert told.budget.reserved_bytes == 0


def test_call_that_fits_later_waits_for_its_turn() -> None:
    async def after_another() -> Told:
        budget = device(ENOUGH, queue_seconds=60)
        with budget.reservation() as another:
            await another.grow(ENOUGH)
            waiting = asyncio.create_task(call(budget))
            while not budget.waiting:
                await asyncio.sleep(0)
        return await waiting

    assert asyncio.run(asyncio.wait_for(after_another(), 60)).failure is None


@pytest.mark.parametrize(("free_gib", "share_gib"), [(80, 72), (8, 7), (0.5, 0)])
def test_a_part_of_what_is_free_is_left_to_the_device(free_gib: float, share_gib: float) -> None:
    assert share_of(int(free_gib * 1024) * MIB) == share_gib * 1024 * MIB
