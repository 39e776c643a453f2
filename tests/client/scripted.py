"""A real gRPC server that answers Prune as a test scripts it: what the client makes of servers that misbehave."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeAlias

import grpc

from pruning_proto.v1 import pruning_pb2 as pb

Script: TypeAlias = Callable[[Iterator[pb.PruneRequest], grpc.ServicerContext], Iterator[pb.PruneResponse]]

Capabilities: TypeAlias = Callable[[pb.GetCapabilitiesRequest, grpc.ServicerContext], pb.GetCapabilitiesResponse]


@contextmanager
def scripted_server(
    script: Script, capabilities: Capabilities | None = None, *, takes_apart: bool = True
) -> Iterator[str]:
    """Serve `script` as Prune while inside, and `capabilities` as GetCapabilities; return the address.

    `takes_apart`: the script is given options and data by themselves, though the client sends them in one message.
    """

    def prune(requests: Iterator[pb.PruneRequest], context: grpc.ServicerContext) -> Iterator[pb.PruneResponse]:
        return script(apart(requests) if takes_apart else requests, context)

    handler = grpc.stream_stream_rpc_method_handler(
        prune, pb.PruneRequest.FromString, pb.PruneResponse.SerializeToString
    )
    server = grpc.server(ThreadPoolExecutor(4))
    handlers: dict[str, Any] = {"Prune": handler}
    if capabilities is not None:
        handlers["GetCapabilities"] = grpc.unary_unary_rpc_method_handler(
            capabilities, pb.GetCapabilitiesRequest.FromString, pb.GetCapabilitiesResponse.SerializeToString
        )
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("pruning.v1.PruningService", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def apart(requests: Iterator[pb.PruneRequest]) -> Iterator[pb.PruneRequest]:
    """Return the messages with options and data by themselves, as a script reads them."""
    for request in requests:
        if request.HasField("whole"):
            yield pb.PruneRequest(options=request.whole.options)
            yield pb.PruneRequest(data=request.whole.data)
        else:
            yield request


def echo(requests: Iterator[pb.PruneRequest], _context: grpc.ServicerContext) -> Iterator[pb.PruneResponse]:
    """Send the file back as it comes."""
    yield plan(next(requests).options.total_bytes)
    for request in requests:
        yield data(request.data)
    yield report()


def plan(result_bytes: int | None = None, **fields: Any) -> pb.PruneResponse:
    """A whole plan in one message."""
    return pb.PruneResponse(plan=pb.Plan(last=True, request_id="r1", result_bytes=result_bytes, **fields))


def data(content: bytes) -> pb.PruneResponse:
    """One message of a result's bytes."""
    return pb.PruneResponse(data=content)


def report(**fields: Any) -> pb.PruneResponse:
    """A whole report in one message."""
    return pb.PruneResponse(report=pb.Report(last=True, request_id="r1", **fields))


def failure(reason: str, message: str = "no") -> pb.PruneResponse:
    """A refusal sent in the stream."""
    return pb.PruneResponse(failure=pb.Failure(code=3, reason=reason, message=message))
