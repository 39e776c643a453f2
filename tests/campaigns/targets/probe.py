"""A process that asks for health every 10 ms until its standard input closes, and prints how long each answer took."""

import json
import select
import sys
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

EVERY_SECONDS = 0.01
TIMEOUT_SECONDS = 30


def main(address: str) -> None:
    """Print `{"seconds": [...], "failed": [...]}`: of all checks, and how those ended that were not answered."""
    seconds: list[float] = []
    failed: list[str] = []
    with grpc.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS, wait_for_ready=True)
        sys.stdout.write("asking\n")
        sys.stdout.flush()
        while not select.select([sys.stdin], [], [], 0)[0]:
            begin = time.perf_counter()
            try:
                check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
            except grpc.RpcError as error:
                failed.append(error.code().name)
            seconds.append(time.perf_counter() - begin)
            time.sleep(max(0.0, EVERY_SECONDS - seconds[-1]))
    sys.stdout.write(json.dumps({"seconds": seconds, "failed": failed}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
