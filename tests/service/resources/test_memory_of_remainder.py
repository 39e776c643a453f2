"""A file that loses most of its tensors takes the memory of the rest, whether their bytes are sent or not."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from pruning_proto import framing
from pruning_proto.limits import CHUNK_BYTES, MIB
from pruning_proto.safetensors.header import build
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import running_server
from tests.service.resources.test_memory import watched

EXPERTS = 20
SHAPE = (2000, 2000)  # 16 MB of fp32
KEPT = (3, 17)

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


def left_out(address: str, *, leaves_out: bool) -> int:
    """Keep two of twenty experts; return the announced peak."""
    weights = np.zeros(SHAPE, np.float32).reshape(-1).view(np.uint8).data
    header, layout = build([(f"experts.{number}.w", "F32", SHAPE) for number in range(EXPERTS)], {})
    listed = pb.ListedUnits(every_group=pb.UnitList(kept=KEPT))
    group = pb.Group(ties=[pb.Tie(tensor="experts.{unit}.w")])
    rule = pb.Rule(score=pb.Score(listed=listed), granularity=pb.Granularity(units=pb.Units(groups=[group])))
    options = pb.PruneOptions(
        recipe=pb.Recipe(rules=[rule]),
        output=pb.OUTPUT_FORM_REMOVED,
        total_bytes=layout.total_bytes,
        leaves_out_skipped=leaves_out,
    )

    def requests() -> Iterator[pb.PruneRequest | framing.Data]:
        yield pb.PruneRequest(options=options)
        yield header
        for _ in KEPT if leaves_out else range(EXPERTS):
            for begin in range(0, len(weights), CHUNK_BYTES):
                yield weights[begin : begin + CHUNK_BYTES]

    announced = received = 0
    with grpc.insecure_channel(address, [("grpc.max_receive_message_length", 4 * MIB)]) as channel:
        call = channel.stream_stream("/pruning.v1.PruningService/Prune", framing.encode, framing.decode_response)
        for message in call(requests(), timeout=100):
            if isinstance(message, memoryview):
                received += len(message)
            elif message.WhichOneof("message") == "plan":
                announced = message.plan.peak_bytes
    assert received > len(KEPT) * len(weights)
    return announced


@pytest.mark.parametrize("leaves_out", [True, False], ids=["left out", "discarded"])
def test_a_tenth_is_held_of_a_file_that_loses_nine(*, leaves_out: bool) -> None:
    with running_server() as server:
        left_out(server.address, leaves_out=leaves_out)
        with watched(server) as peak:
            announced = left_out(server.address, leaves_out=leaves_out)
    assert peak.bytes <= announced < 80 * MIB
