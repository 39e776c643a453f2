"""Servers with TLS and tokens, and what tests call them with."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pruning_client import Tls
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.certificates import Certificates, Signed

TOKEN = "0123456789abcdef-s3cret"  # noqa: S105 - opens nothing


def over_tls(server: Signed, **others: str) -> dict[str, str]:
    """Return the settings of a server that speaks TLS."""
    return {"tls_certificate": str(server.certificate), "tls_key": str(server.key), **others}


def showing(certificates: Certificates, own: Signed) -> Tls:
    """Return what a client needs that trusts the CA and shows a certificate of its own."""
    return Tls(ca=certificates.ca, certificate=own.certificate, key=own.key)


def token_file(folder: Path, *lines: str) -> Path:
    """Write a file of tokens; without lines the one of TOKEN, whose caller is `ci`."""
    file = folder / "tokens"
    written_anew(file, "".join(f"{line}\n" for line in lines or (f"ci:{TOKEN}",)).encode())
    return file


def written_anew(file: Path, content: bytes) -> None:
    """Write a file aside and rename it, as whoever renews files should."""
    aside = file.with_suffix(".new")
    aside.write_bytes(content)
    aside.rename(file)


def health_of(address: str, service: str = "") -> Any:
    """Ask for a service's health."""
    with grpc.insecure_channel(address) as channel:
        asked = health_pb2.HealthCheckRequest(service=service)
        return health_pb2_grpc.HealthStub(channel).Check(asked, timeout=20).status


def capabilities_on(channel: grpc.Channel) -> Any:
    """Return what calls GetCapabilities on a connection, its messages as bytes."""
    return channel.unary_unary("/pruning.v1.PruningService/GetCapabilities")


@contextmanager
def open_call(channel: grpc.Channel, first: pb.PruneRequest) -> Iterator[None]:
    """Have a Prune call under way while inside: the server has taken its first messages, the rest never comes."""
    prune = channel.stream_stream(
        "/pruning.v1.PruningService/Prune", pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString
    )
    over = Event()

    def requests() -> Iterator[pb.PruneRequest]:
        yield first
        over.wait(60)

    call = prune(requests(), timeout=60)
    call.initial_metadata()  # the server has answered
    try:
        yield
    finally:
        over.set()
        call.cancel()
