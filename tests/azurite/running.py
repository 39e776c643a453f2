"""A real server of Azure's blob protocol for tests: Azurite, installed when first asked for. Marked `integration`."""

import base64
import hashlib
import hmac
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Final

import pytest

from scripts import node_packages

READY_SECONDS: Final = 60
CONTAINER: Final = "checkpoints"

_ACCOUNT: Final = "devstoreaccount1"
_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Both are Azurite's own, and public."""

_VERSION: Final = "2021-08-06"


@dataclass(frozen=True)
class Azure:
    """A server of Azure's protocol with one empty container."""

    address: str

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables with which a process reaches it."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
            "AZURE_STORAGE_ENDPOINT": f"http://{self.address}/{_ACCOUNT}",
        }


@contextmanager
def running_azure(folder: Path) -> Iterator[Azure]:
    """Run a server on a free port, with its files in a folder, while inside."""
    if not node_packages.is_installable():
        pytest.skip(node_packages.MISSING)
    program = node_packages.node_modules(Path(__file__).parent) / ".bin" / "azurite-blob"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--silent", "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", str(port))
    process = subprocess.Popen([program, *options, "--location", folder], cwd=folder)
    try:
        azure = Azure(f"127.0.0.1:{port}")
        _create_container(azure, process)
        yield azure
    finally:
        process.kill()
        process.wait()


def _create_container(azure: Azure, process: subprocess.Popen[bytes]) -> None:
    """Create the container as soon as the server serves."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.build_opener().open(_creating(azure), timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("Azurite does not begin to serve")


def _creating(azure: Azure) -> urllib.request.Request:
    """Return the request for a container, signed by the key of the account."""
    date = formatdate(usegmt=True)
    headers = f"x-ms-date:{date}\nx-ms-version:{_VERSION}\n"
    text = "PUT" + "\n" * 12 + f"{headers}/{_ACCOUNT}/{_ACCOUNT}/{CONTAINER}\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(_KEY), text.encode(), hashlib.sha256)).decode()
    return urllib.request.Request(
        f"http://{azure.address}/{_ACCOUNT}/{CONTAINER}?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": _VERSION,
            "Authorization": f"SharedKey {_ACCOUNT}:{signature}",
            "Content-Length": "0",
        },
    )
