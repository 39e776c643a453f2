"""`python -m pruning_service.observability.probe`: ask the health port of the server in the same container.

Ends with 0 if it serves, with 1 if it does not or does not answer, with 2 if it has no health port.
"""

import os
import sys
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pruning_service.settings import NOWHERE, SettingsError, host_and_port, read_settings

ANSWER_SECONDS: Final = 3.0


def main() -> int:
    """Ask; what was wrong is told on stderr."""
    try:
        listen = read_settings(os.environ).health_listen
        if listen == NOWHERE:
            raise SettingsError("this server has no health port: set PRUNING_HEALTH_LISTEN")
        host, port = host_and_port(listen, "PRUNING_HEALTH_LISTEN")
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
    """Give the host to ask where one listens on `host`, which may be every address."""
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - asked, not listened on


if __name__ == "__main__":
    raise SystemExit(main())
