"""A real Prometheus for tests, as Debian packages it, that scrapes fast; and promtool."""

import json
import re
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

READY_SECONDS: Final = 30
RATE_INTERVAL: Final = "4s"
"""What Grafana would put for $__rate_interval: four scrapes or more."""

_CONFIG: Final = """\
global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: pruning
    static_configs: [{{targets: ["{target}"]}}]
"""


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`; skip the test where it is missing."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian: the package prometheus)")
    return path


def promtool(*arguments: str, text: bytes | None = None) -> None:
    """Run promtool. Raises: AssertionError with what it found."""
    command = [program("promtool"), *arguments]
    done = subprocess.run(command, input=text, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that serves its API."""

    address: str

    def ask(self, path: str, **parameters: str) -> Any:
        """Ask the API; return the data. Raises: urllib.error.HTTPError for a query that makes no sense."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}?{query}", timeout=10) as page:
            return json.load(page)["data"]

    def values(self, query: str) -> list[float]:
        """Return the values that a query has now, those that are no number left out."""
        values = [float(sample["value"][1]) for sample in self.ask("query", query=query)["result"]]
        return [value for value in values if value == value]  # noqa: PLR0124 - NaN is not itself


@contextmanager
def running_prometheus(folder: Path, target: str, rules: Path) -> Iterator[Prometheus]:
    """Run a Prometheus on `folder` that scrapes `target` and evaluates `rules` while inside."""
    config = folder / "prometheus.yaml"
    config.write_text(_CONFIG.format(target=target, rules=rules))
    command = [
        *(program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"),
        "--web.listen-address=127.0.0.1:0",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        addresses: list[str] = []
        ready = threading.Event()
        reader = threading.Thread(target=_read_log, args=(process, addresses, ready), daemon=True)
        reader.start()
        try:
            assert ready.wait(READY_SECONDS), "Prometheus does not begin to serve"
            yield Prometheus(addresses[0])
        finally:
            process.kill()
            reader.join()


def _read_log(process: subprocess.Popen[str], addresses: list[str], ready: threading.Event) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r'msg="Listening on" address=(\S+)', line):
            addresses.append(found[1])
        if "Server is ready to receive web requests" in line:
            ready.set()
