"""What grpc.health.v1 is answered, on both ports: a flag that callers only read, so that none can block another.

`grpc_health.v1.health` has a servicer, which is not used: it writes to its watchers under the lock that `Check` takes,
and a watcher that does not read stops both (grpc pull request 43403). Its generated messages are used.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md.
"""

from typing import Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

SERVICE_NAME: Final = "grpc.health.v1.Health"
CHECK: Final = "Check"
WATCH: Final = "Watch"

REQUEST_BYTES: Final = 256
"""The longest request that is parsed; those of known services have less than 40 bytes."""

WHOLE_SERVER: Final = ""
"""The service name that stands for the whole server."""

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthRefusedError(Exception):
    """A request is refused; `code` and the text are its status."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class ServingStatus:
    """Whether a service, and so the whole server, serves: not until it is turned on, and never again once it is off."""

    def __init__(self, service: str) -> None:
        self.is_serving = False
        self._services = frozenset((service, WHOLE_SERVER))
        self.is_off = False

    def set(self, *, is_serving: bool) -> None:
        """Report this from now on, unless it was turned off."""
        self.is_serving = is_serving and not self.is_off

    def turn_off(self) -> None:
        """Report NOT_SERVING for good."""
        self.is_off = True
        self.is_serving = False

    def check(self, raw: bytes) -> health_pb2.HealthCheckResponse:
        """Return the answer to a `Check`. Raises: HealthRefusedError, also for a service that is not known."""
        status = self.of(parsed(raw))
        if status == UNKNOWN:
            raise HealthRefusedError(grpc.StatusCode.NOT_FOUND, "")
        return health_pb2.HealthCheckResponse(status=status)

    def of(self, service: str) -> health_pb2.HealthCheckResponse.ServingStatus:
        """Return the status of a service, UNKNOWN if it is not one of this server's."""
        if service not in self._services:
            return UNKNOWN
        return SERVING if self.is_serving else NOT_SERVING


def parsed(raw: bytes) -> str:
    """Return the service that a request asks about. Raises: HealthRefusedError."""
    if len(raw) > REQUEST_BYTES:
        text = f"a health request has at most {REQUEST_BYTES} bytes, got {len(raw):,}"
        raise HealthRefusedError(grpc.StatusCode.INVALID_ARGUMENT, text)
    try:
        service: str = health_pb2.HealthCheckRequest.FromString(raw).service
    except DecodeError:
        raise HealthRefusedError(grpc.StatusCode.INVALID_ARGUMENT, "not a grpc.health.v1.HealthCheckRequest") from None
    return service
