"""Prune calls message by message, without the client: what the server does is seen as it is."""

import json
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import grpc
from google.rpc import error_details_pb2, status_pb2

from pruning_proto.v1 import pruning_pb2 as pb


@dataclass
class Outcome:
    """What came of a call: every message, and how it ended."""

    responses: list[pb.PruneResponse] = field(default_factory=list)
    code: grpc.StatusCode = grpc.StatusCode.OK
    status: status_pb2.Status = field(default_factory=status_pb2.Status)

    @property
    def kinds(self) -> list[str | None]:
        """The kinds of the messages, in order."""
        return [response.WhichOneof("message") for response in self.responses]

    @property
    def data(self) -> bytes:
        """The bytes of the result."""
        return b"".join(response.data for response in self.responses)

    @property
    def plan(self) -> pb.Plan:
        """The last plan message."""
        return next(r.plan for r in reversed(self.responses) if r.WhichOneof("message") == "plan")

    @property
    def report(self) -> pb.Report:
        """The last report message."""
        return next(r.report for r in reversed(self.responses) if r.WhichOneof("message") == "report")

    @property
    def failure(self) -> pb.Failure:
        """The in-band failure."""
        return self.responses[-1].failure

    def detail(self, kind: type[error_details_pb2.ErrorInfo]) -> error_details_pb2.ErrorInfo:
        """The status's detail of one kind."""
        found = kind()
        assert any(packed.Unpack(found) for packed in self.status.details)
        return found


def call(address: str, requests: Iterable[pb.PruneRequest], timeout: float = 30) -> Outcome:
    """Make one call with plain protobuf messages."""
    with grpc.insecure_channel(address) as channel:
        return call_on(channel, requests, timeout)


def call_on(channel: grpc.Channel, requests: Iterable[pb.PruneRequest], timeout: float = 30) -> Outcome:
    """Make one call as `call`, on a connection that may be there already."""
    outcome = Outcome()
    prune = channel.stream_stream(
        "/pruning.v1.PruningService/Prune",
        pb.PruneRequest.SerializeToString,
        pb.PruneResponse.FromString,
    )
    responses = prune(iter(requests), timeout=timeout)
    try:
        outcome.responses.extend(responses)
    except grpc.RpcError as error:
        outcome.code = error.code()
        for entry in error.trailing_metadata() or ():
            if entry.key == "grpc-status-details-bin":
                outcome.status.ParseFromString(entry.value)
    return outcome


def file(tensors: dict[str, tuple[str, list[int], bytes]], metadata: dict[str, str] | None = None) -> bytes:
    """Write a safetensors file of name -> (dtype, shape, bytes)."""
    fields: dict[str, object] = {"__metadata__": metadata} if metadata is not None else {}
    buffer = b""
    for name, (dtype, shape, data) in tensors.items():
        offsets = [len(buffer), len(buffer) + len(data)]
        fields[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        buffer += data
    return with_header(json.dumps(fields).encode(), buffer)


def with_header(header: bytes, buffer: bytes = b"") -> bytes:
    """Put a header's length and text before a buffer."""
    return struct.pack("<Q", len(header)) + header + buffer


def f32(*values: float) -> bytes:
    """Return float32 values as bytes."""
    return struct.pack(f"<{len(values)}f", *values)


def options(
    content: bytes,
    rules: list[pb.Rule] | None = None,
    output: pb.OutputForm = pb.OUTPUT_FORM_PRUNED,
    **fields: object,
) -> pb.PruneRequest:
    """Return the first message for a file; by default half of each default target is pruned by magnitude."""
    recipe = pb.Recipe(rules=[l1(0.5)] if rules is None else rules, seed=7)
    given = {"total_bytes": len(content)} | fields
    return pb.PruneRequest(options=pb.PruneOptions(recipe=recipe, output=output, **given))  # type: ignore[arg-type]


def l1(fraction: float, **fields: object) -> pb.Rule:
    """Return the rule l1_unstructured(fraction)."""
    score = pb.Score(magnitude=pb.Magnitude())
    return pb.Rule(score=score, amount=pb.Amount(fraction=fraction), **fields)  # type: ignore[arg-type]


def data(content: bytes, piece_bytes: int = 1 << 20) -> list[pb.PruneRequest]:
    """Cut a file into data messages."""
    return [pb.PruneRequest(data=content[at : at + piece_bytes]) for at in range(0, len(content), piece_bytes)]


def prune(address: str, content: bytes, **fields: object) -> Outcome:
    """Send a file whole, with `options` made of `fields`."""
    return call(address, [options(content, **fields), *data(content)])  # type: ignore[arg-type]


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> bool:
    """Wait until something holds, for `seconds` at most; return whether it does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False
