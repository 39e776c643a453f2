"""The peak that a plan announces is the peak that is measured, and a call's memory is free when it has ended."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest

from pruning_proto import framing
from pruning_proto.limits import CHUNK_BYTES, MIB
from pruning_proto.safetensors.header import build
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess, running_server
from tests.service.raw import l1, wait_until

SHAPE = (5000, 4000)  # 80 MB of fp32
TENSORS = 5

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


def held_bytes(server: ServerProcess) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return sum(int(re.findall(rf"{kind}:\s+(\d+) kB", status)[0]) * 1024 for kind in ("RssAnon", "RssShmem"))


@dataclass
class Peak:
    bytes: int = 0


@contextmanager
def watched(server: ServerProcess) -> Iterator[Peak]:
    """Return the most that the server holds while inside, above what it holds now."""
    idle, peak, over = held_bytes(server), Peak(), threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            peak.bytes = max(peak.bytes, held_bytes(server) - idle)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def prune_slowly(server: ServerProcess, scope: "pb.Scope", output: "pb.OutputForm", pause: float) -> int:
    """Prune a model of `TENSORS` tensors, waiting before each message that is read; return the announced peak."""
    weights = np.random.default_rng().standard_normal(SHAPE, dtype=np.float32).reshape(-1).view(np.uint8).data
    header, layout = build([(f"l{i}.weight", "F32", SHAPE) for i in range(TENSORS)], {})

    def requests() -> Iterator[pb.PruneRequest | framing.Data]:
        recipe = pb.Recipe(rules=[l1(0.5, scope=scope)])
        yield pb.PruneRequest(options=pb.PruneOptions(recipe=recipe, output=output, total_bytes=layout.total_bytes))
        yield header
        for _ in range(TENSORS):
            for begin in range(0, len(weights), CHUNK_BYTES):
                yield weights[begin : begin + CHUNK_BYTES]

    # Without probing the window stays small, so that what is unread waits in the server.
    options = [("grpc.max_receive_message_length", 4 * MIB), ("grpc.http2.bdp_probe", 0)]
    announced = 0
    with grpc.insecure_channel(server.address, options) as channel:
        call = channel.stream_stream("/pruning.v1.PruningService/Prune", framing.encode, framing.decode_response)
        for message in call(requests(), timeout=100):
            if isinstance(message, memoryview):
                time.sleep(pause)
            elif message.WhichOneof("message") == "plan":
                announced = message.plan.peak_bytes
    return announced


@pytest.mark.parametrize(
    ("scope", "output", "pause"),
    [
        (pb.SCOPE_LOCAL, pb.OUTPUT_FORM_PRUNED, 0.02),
        (pb.SCOPE_GLOBAL, pb.OUTPUT_FORM_PRUNED, 0.0),
        (pb.SCOPE_GLOBAL, pb.OUTPUT_FORM_MASK, 0.0),
    ],
    ids=["local, to a slow reader", "global", "global, masks only"],
)
def test_the_peak_that_is_told_is_the_peak_that_is_measured(
    scope: "pb.Scope", output: "pb.OutputForm", pause: float
) -> None:
    with running_server() as server:
        prune_slowly(server, scope, output, 0.0)  # threads, buffers for pieces: what a server has once
        assert wait_until(lambda: held_bytes(server) < 320 * MIB)
        with watched(server) as peak:
            announced = prune_slowly(server, scope, output, pause)
        assert 0.9 * announced < peak.bytes < 1.1 * announced


def test_packed_results_stay_within_what_is_told() -> None:
    """How small the result gets is known at the end: the announced peak is that of one that is no smaller."""
    model_bytes = TENSORS * SHAPE[0] * SHAPE[1] * 4
    with running_server() as server:
        prune_slowly(server, pb.SCOPE_LOCAL, pb.OUTPUT_FORM_PACKED, 0.0)
        for scope in (pb.SCOPE_LOCAL, pb.SCOPE_GLOBAL):
            assert wait_until(lambda: held_bytes(server) < 320 * MIB)
            with watched(server) as peak:
                announced = prune_slowly(server, scope, pb.OUTPUT_FORM_PACKED, 0.0)
            assert model_bytes < announced < 1.6 * model_bytes
            assert peak.bytes < 1.1 * announced


def test_packed_results_that_do_not_fit_wait_on_the_disk(tmp_path: Path) -> None:
    model_bytes = TENSORS * SHAPE[0] * SHAPE[1] * 4
    with running_server(memory_bytes=str(360 * MIB), backlog_bytes=str(8 * MIB), spool_dir=str(tmp_path)) as server:
        prune_slowly(server, pb.SCOPE_LOCAL, pb.OUTPUT_FORM_PACKED, 0.0)
        for scope in (pb.SCOPE_LOCAL, pb.SCOPE_GLOBAL):
            assert wait_until(lambda: held_bytes(server) < 320 * MIB)
            with watched(server) as peak:
                announced = prune_slowly(server, scope, pb.OUTPUT_FORM_PACKED, 0.01)
            assert announced < 0.9 * model_bytes
            assert peak.bytes < 1.1 * announced


def test_what_a_call_held_goes_back_to_the_system() -> None:
    with running_server() as server:
        prune_slowly(server, pb.SCOPE_GLOBAL, pb.OUTPUT_FORM_PRUNED, 0.0)
        before = held_bytes(server)
        announced = prune_slowly(server, pb.SCOPE_GLOBAL, pb.OUTPUT_FORM_PRUNED, 0.0)
        assert wait_until(lambda: held_bytes(server) - before < announced / 10)
