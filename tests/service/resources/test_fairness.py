"""Calls take turns: a small model is answered while a large one is being computed, and a cancelled one stops there."""

import asyncio
import threading
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from pruning_engine.runtime.yield_points import with_yields
from pruning_proto import framing
from pruning_proto.limits import CHUNK_BYTES
from pruning_proto.safetensors.header import build
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.resources.engine_worker import EngineWorker
from tests.servers import ServerProcess
from tests.service.raw import f32, file, prune, wait_until
from tests.service.test_server import samples

SHAPE = (4000, 4000)
RULES = 20
"""On one tensor, so that they are one job; norms with p = 0.7 take long: powers of 16 million numbers."""

SMALL = file({"a.weight": ("F32", [2, 2], f32(4, -1, 3, -2))})


class LargeCall:
    """One call that computes for seconds. `is_over` once its report has come, or it has been cancelled."""

    def __init__(self, server: ServerProcess) -> None:
        self.is_over = False
        self.sent = threading.Event()
        self._channel = grpc.insecure_channel(server.address)
        prune = self._channel.stream_stream("/pruning.v1.PruningService/Prune", framing.encode, framing.decode_response)
        self.call = prune(self._requests(), timeout=100)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _requests(self) -> Iterator[pb.PruneRequest | framing.Data]:
        weights = np.random.default_rng().standard_normal(SHAPE, dtype=np.float32).reshape(-1).view(np.uint8).data
        header, layout = build([("l.weight", "F32", SHAPE)], {})
        rule = pb.Rule(
            score=pb.Score(magnitude=pb.Magnitude(norm=pb.Norm(p=0.7))),
            granularity=pb.Granularity(channels=pb.Channels()),
            amount=pb.Amount(fraction=0.1),
        )
        options = pb.PruneOptions(
            recipe=pb.Recipe(rules=[rule] * RULES), output=pb.OUTPUT_FORM_REPORT, total_bytes=layout.total_bytes
        )
        yield pb.PruneRequest(options=options)
        yield header
        for begin in range(0, len(weights), CHUNK_BYTES):
            yield weights[begin : begin + CHUNK_BYTES]
        self.sent.set()

    def _read(self) -> None:
        try:
            for _ in self.call:
                pass
        except grpc.RpcError:
            pass
        self.is_over = True

    def close(self) -> None:
        self.call.cancel()
        self._reader.join()
        self._channel.close()


@pytest.fixture
def large(server: ServerProcess) -> Iterator[LargeCall]:
    call = LargeCall(server)
    assert call.sent.wait(60)
    yield call
    call.close()


def test_small_models_are_answered_while_a_large_one_is_computed(server: ServerProcess, large: LargeCall) -> None:
    for _ in range(20):
        assert prune(server.address, SMALL).kinds[-1] == "report"
    assert not large.is_over


def test_a_call_that_is_cancelled_stops_at_the_next_piece() -> None:
    done: list[int] = []
    third, cancelled = threading.Event(), threading.Event()

    def work() -> None:
        for piece in with_yields(range(100)):
            done.append(piece)
            if len(done) == 3:
                third.set()
                assert cancelled.wait(10)

    async def cancel_in_the_middle() -> None:
        worker = EngineWorker("cpu")
        try:
            call = asyncio.create_task(worker.run(work))
            assert await asyncio.to_thread(third.wait, 10)
            call.cancel()
            await asyncio.sleep(0)  # the call hears of it
            cancelled.set()
            with pytest.raises(asyncio.CancelledError):
                await call
        finally:
            worker.close()

    asyncio.run(cancel_in_the_middle())
    assert 3 <= len(done) < 10


def test_a_large_call_that_is_cancelled_gives_back_what_it_reserved(server: ServerProcess, large: LargeCall) -> None:
    large.call.cancel()
    assert wait_until(lambda: samples(server)["pruning_reserved_bytes", ()] == 0, seconds=10)
