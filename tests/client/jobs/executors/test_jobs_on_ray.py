"""Jobs on real Ray clusters: the bytes of a run in one process, also when a node is killed meanwhile."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # it ships no types
import pytest

from pruning_client import Client, rules
from pruning_service.stores.stores import Stores, StoreSettings
from pruning_service.stores.uris import StoreUri
from scripts.environments import ROOT
from tests.benchmarks.surgery import write_model
from tests.ray_nodes import Nodes, ray_environment, ray_program, ray_python, workers_of
from tests.seaweed import BUCKET, running_s3
from tests.servers import server_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]  # the first time, environments are made

MODEL_BYTES = 200_000_000
OPTIONS = ("--method", "l1_unstructured", "--amount", "0.5", "--global")
PROGRAM = "tests.client.jobs.executors.divided_on_ray"


def started(place: str, nodes: Nodes, **variables: str) -> AbstractContextManager["subprocess.Popen[str]"]:
    """Run a job while inside."""
    return ray_program(PROGRAM, place, nodes.address, **nodes.variables, **variables)


def report_of(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(out)
    return found


def digests(folder: Path) -> Mapping[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of eight shards, and its result of a run in one process."""
    folder = tmp_path_factory.mktemp("place")
    write_model(folder / "model", MODEL_BYTES)
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pruning_client",
        "run",
        folder / "model",
        "-o",
        folder / "expected",
    ]
    subprocess.run([*command, *OPTIONS, "--quiet"], cwd=ROOT, check=True)
    return folder


def test_node_killed_during_a_global_rule_changes_no_byte(place: Path) -> None:
    with workers_of(2) as nodes, started(place.as_uri(), nodes) as process:
        while not list((place / "records").glob("sample-*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        nodes.kill_one()
        assert process.poll() is None, "the job has ended before the node was killed"
        report_of(process)
    assert digests(place / "result") == digests(place / "expected")


def test_job_of_a_server_goes_on_when_its_process_is_killed(place: Path) -> None:
    half = rules.l1_unstructured(0.5, scope="global")
    source, target = (place / "model").as_uri(), (place / "served").as_uri()
    with workers_of(2) as nodes:
        settings = {"stores": place.as_uri(), "executor": "ray", "ray_address": nodes.client_address}
        with (
            server_of(ray_python(), ray_environment(**nodes.variables), **settings) as server,
            Client(server.address) as client,
        ):
            job = client.prune_checkpoint(source, target, half, name="a")
            while not list(place.glob("_pruning/a/*/parts/sample-*")):
                assert not job.refresh().is_done, server.log
                time.sleep(0.01)
            for process in psutil.Process(server.process.pid).children():
                process.kill()
            job.wait(timeout=300)
            assert sum("job worker crashed" in line for line in server.log) == 1
    assert digests(place / "served") == digests(place / "expected")


def test_command_starts_ray_itself_where_home_cannot_be_written(place: Path) -> None:
    command: list[str | Path] = [ray_python(), "-m", "pruning_client", "run", place / "model", "-o", place / "here"]
    environment = ray_environment(HOME="/proc/1/none")
    done = subprocess.run(
        [*command, *OPTIONS, "--executor", "ray", "--json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sparsity"] == 0.5
    assert done.stderr == ""
    assert digests(place / "here") == digests(place / "expected")
    assert [path.name for path in place.iterdir() if path.name.startswith(".")] == []


def test_workers_read_and_write_an_object_store_themselves(place: Path) -> None:
    with running_s3() as s3, workers_of(2, **s3.environment) as nodes:
        uri = StoreUri.parse(f"s3://{BUCKET}/place")
        with pytest.MonkeyPatch.context() as patched:
            for name, text in s3.environment.items():
                patched.setenv(name, text)
            with Stores(StoreSettings(endpoint=s3.endpoint)) as stores:
                store = stores.open(uri)
                for path in (place / "model").iterdir():
                    store.put(f"model/{path.name}", path.read_bytes())
                with started(str(uri), nodes) as process:
                    report_of(process)
                found = {each.key: sha256(store.get(each.key)[0]).hexdigest() for each in store.list("result")}
    assert found == {f"result/{name}": digest for name, digest in digests(place / "expected").items()}
