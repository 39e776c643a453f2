"""`python -m pruning_service.probe`: ask the health port of the server in the same container.

Exit status: 0 if the server serves, 1 if it does not or does not answer, 2 if it has no valid health port.
"""

import os
import sys
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pruning_service.addresses import NOWHERE, host_and_port
from pruning_service.local_settings import SettingsError

ANSWER_SECONDS: Final = 3.0
_VARIABLE: Final = "PRUNING_HEALTH_LISTEN"
"""The only setting that it reads: the server checks the others, and importing their model takes time."""


def main() -> int:
    """Ask, and return the exit status; problems are written to stderr."""
    try:
        listen = os.environ.get(_VARIABLE, NOWHERE)
        if listen == NOWHERE:
            raise SettingsError(f"this server has no health port: set {_VARIABLE}")
        host, port = host_and_port(listen, _VARIABLE)
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return _ask(f"{_reachable(host)}:{port}")


def _ask(address: str) -> int:
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=ANSWER_SECONDS, wait_for_ready=False
            )
        except grpc.RpcError as error:
            sys.stderr.write(f"no answer from {address}: {error.code().name}, {error.details()}\n")
            return 1
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        sys.stderr.write(f"{address} says {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}\n")
        return 1
    return 0


def _reachable(host: str) -> str:
    """Return the host to connect to for a server that listens on `host`, which may be every address."""
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - connected to, not listened on


if __name__ == "__main__":
    raise SystemExit(main())
