"""Real gRPC servers that say who they are: how clients get to them."""

import socket
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from pruning_proto.v1 import pruning_pb2 as pb


@contextmanager
def peer(
    name: str = "peer",
    *,
    listen: str = "127.0.0.1:0",
    credentials: grpc.ServerCredentials | None = None,
    tokens: Collection[str] = (),
) -> Iterator[str]:
    """Serve while inside; return the address.

    GetCapabilities tells `name` as the version and the caller's own address as a device; Prune tells an empty plan.
    `tokens`: one of them is wanted, if there are any.
    """

    def check(context: grpc.ServicerContext) -> None:
        given = dict(context.invocation_metadata()).get("authorization")
        if tokens and given not in {f"Bearer {token}" for token in tokens}:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

    def capabilities(_: pb.GetCapabilitiesRequest, context: grpc.ServicerContext) -> pb.GetCapabilitiesResponse:
        check(context)
        return pb.GetCapabilitiesResponse(version=name, devices=[context.peer()])

    def prune(requests: Iterator[pb.PruneRequest], context: grpc.ServicerContext) -> Iterator[pb.PruneResponse]:
        check(context)
        for _ in requests:
            continue
        yield pb.PruneResponse(plan=pb.Plan(last=True))

    handlers: dict[str, Any] = {
        "GetCapabilities": grpc.unary_unary_rpc_method_handler(
            capabilities, pb.GetCapabilitiesRequest.FromString, pb.GetCapabilitiesResponse.SerializeToString
        ),
        "Prune": grpc.stream_stream_rpc_method_handler(
            prune, pb.PruneRequest.FromString, pb.PruneResponse.SerializeToString
        ),
    }
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("pruning.v1.PruningService", handlers)])
    port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    server.start()
    try:
        yield listen if listen.startswith("unix:") else f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def web_server() -> Iterator[str]:
    """Answer whatever comes as HTTP/1 does while inside; return the address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_refuse, args=(listening,))
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def free_address() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"


def _refuse(listening: socket.socket) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:  # closed
            return
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
