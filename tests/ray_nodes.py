"""Ray for tests: installed when first asked for, in an environment of its own; two nodes here.

Programs run there with the packages of this environment, and with Ray's own beside them. Its tests are marked
`integration`. `python -m tests.ray_nodes` is the process that holds the nodes: it prints the address of the cluster,
and kills the node that was added last for each line that it is given.
"""

import os
import secrets
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.environments import ROOT, python_with

PACKAGE: Final = "ray==2.60.0"
_SOURCES: Final = (ROOT, *(ROOT / name for name in ("proto", "service", "client")))


def ray_python() -> Path:
    """Return the Python that has Ray; make its environment first if need be."""
    return python_with("ray", [PACKAGE])


def ray_environment(**variables: str) -> dict[str, str]:
    """Return the environment of a program of that Python, without any of Ray's variables but those given."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
    path = os.pathsep.join(map(str, (*_SOURCES, sysconfig.get_path("purelib"))))
    return inherited | {"PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0"} | variables


@dataclass(frozen=True)
class Nodes:
    """A cluster: a head without a core, and two nodes with one core each."""

    address: str
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
def two_nodes() -> Iterator[Nodes]:
    """Run two nodes while inside."""
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    command: list[str | Path] = [ray_python(), "-m", "tests.ray_nodes"]
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
        address = process.stdout.readline().strip()
        assert address, "the cluster has not started"
        try:
            yield Nodes(address, variables, process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)


def main() -> None:
    """Hold a cluster until standard input ends."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - of Ray's environment

    little = 80 * 1024 * 1024
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": little}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=little) for _ in range(2)]
    print(cluster.address, flush=True)  # noqa: T201
    for _ in sys.stdin:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        print("killed", flush=True)  # noqa: T201
    cluster.shutdown()


if __name__ == "__main__":
    main()
