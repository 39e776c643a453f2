"""Ray for tests: installed when first asked for, in an environment of its own; nodes on this machine.

Programs run there with the packages of this environment, and with Ray's own beside them. Its tests are marked
`integration`. `python -m tests.ray_nodes COUNT` is the process that holds the nodes: it prints the addresses of the
cluster, and kills the node that was added last for each line that it is given.
"""

import os
import secrets
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.environments import ROOT, pinned, python_with

PACKAGE: Final = pinned("ray").replace("ray", "ray[client,default]", 1)
_SOURCES: Final = (ROOT, *(ROOT / name for name in ("proto", "service", "client")))


def ray_python() -> Path:
    """Return the Python that has Ray; make its environment first if need be."""
    return python_with("ray", [PACKAGE])


def ray_environment(**variables: str) -> dict[str, str]:
    """Return the environment of a program of that Python, without any of Ray's variables but those given."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
    path = os.pathsep.join(map(str, (*_SOURCES, sysconfig.get_path("purelib"))))
    return inherited | {"PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0"} | variables


@contextmanager
def ray_program(module: str, *arguments: str | Path, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a module by that Python while inside. `variables`: of its environment, such as those of `Nodes`."""
    with subprocess.Popen(
        [ray_python(), "-m", module, *arguments],
        cwd=ROOT,
        env=ray_environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@dataclass(frozen=True)
class Nodes:
    """A cluster: a head without a core, and nodes with one core each. `client_address`: of its server for clients."""

    address: str
    client_address: str
    variables: Mapping[str, str]
    process: "subprocess.Popen[str]"

    def kill_one(self) -> None:
        """Kill all processes of the node that was added last."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "killed\n"


@contextmanager
def workers_of(count: int = 2, **others: str) -> Iterator[Nodes]:
    """Run some nodes and a head while inside. `others`: variables of all their processes, such as credentials."""
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), **others}
    command: list[str | Path] = [ray_python(), "-m", "tests.ray_nodes", str(count)]
    with subprocess.Popen(
        command,
        env=ray_environment(**variables),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        addresses = process.stdout.readline().split()
        assert addresses, "the cluster has not started"
        try:
            address, client_address = addresses
            yield Nodes(address, client_address, variables, process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)


def main() -> None:
    """Hold a cluster until standard input ends."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - of Ray's environment

    little = 80 * 1024 * 1024
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": little, "ray_client_server_port": port}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=little) for _ in range(int(sys.argv[1]))]
    print(cluster.address, f"ray://127.0.0.1:{port}", flush=True)  # noqa: T201
    for _ in sys.stdin:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        print("killed", flush=True)  # noqa: T201
    cluster.shutdown()


if __name__ == "__main__":
    main()
