"""The examples of `deploy/pipelines`: sound by the tools that they are for, and their commands prune."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from scripts.environments import python_with
from scripts.images import tag
from tests.client.certificates import Certificates
from tests.client.tiny_files import weight, written
from tests.deploy.steps import PIPELINES, argo_command, argo_workflow, filled
from tests.servers import ServerProcess, running_server
from tests.service.secured import over_tls

HERA = ("hera==7.1.0",)
KUBEFLOW = ("kfp==2.17.0", "kfp-kubernetes==2.17.0")
MLFLOW = ("mlflow-skinny==3.17.2", "SQLAlchemy==2.1.9", "alembic==1.20.1")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A checkpoint, at the name that the steps have for it."""
    return written(tmp_path / "model.safetensors", weight(1, -4, 3, -2))


@pytest.fixture(scope="module")
def mutual(certificates: Certificates) -> Iterator[ServerProcess]:
    """A server as the overlay mtls sets it up."""
    with running_server(**over_tls(certificates.server), tls_client_ca=str(certificates.ca)) as server:
        yield server


@pytest.fixture(scope="module")
def secret(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Secret of a client, as the steps mount it."""
    folder = tmp_path_factory.mktemp("tls")
    files = {"ca.crt": certificates.ca, "tls.crt": certificates.client.certificate, "tls.key": certificates.client.key}
    for name, file in files.items():
        written(folder / name, file.read_bytes())
    return folder


@pytest.fixture(scope="module")
def argo() -> dict[str, Any]:
    return argo_workflow()


@pytest.fixture(scope="module")
def kubeflow() -> dict[str, Any]:
    document, _ = yaml.safe_load_all((PIPELINES / "kubeflow.yaml").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a container's command here."""
    assert command[0] == "prune"
    words = [sys.executable, "-m", "pruning_client", *command[1:]]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def run_argo_step(
    argo: Mapping[str, Any], folder: Path, secret: Path, **values: str
) -> subprocess.CompletedProcess[str]:
    """Run the workflow's step here, with folders in place of its volumes."""
    words = argo_command(argo, **values)
    return run([word.replace("/data/", f"{folder}/").replace("/tls/", f"{secret}/") for word in words])


def wrong_with(*workflows: Mapping[str, Any]) -> list[str]:
    """Ask Argo's models what is wrong with each workflow."""
    command = [python_with("hera", HERA), Path(__file__).with_name("argo_models.py")]
    done = subprocess.run(command, input=json.dumps(workflows), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    faults = json.loads(done.stdout)
    assert isinstance(faults, list)
    return faults


@pytest.mark.integration
@pytest.mark.timeout(600)  # the first time, an environment is made
def test_argo_knows_all_that_the_workflow_says_and_would_refuse_what_it_does_not(argo: dict[str, Any]) -> None:
    misspelled, mistyped = copy.deepcopy(argo), copy.deepcopy(argo)
    misspelled["spec"]["templates"][0]["retryStrategi"] = {}
    mistyped["spec"]["templates"][0]["container"]["args"] = "run"
    sound, *refused = wrong_with(argo, misspelled, mistyped)
    assert sound == ""
    assert refused[0] == ".spec.templates[0].retryStrategi: unknown"
    assert "valid list" in refused[1]


def test_argo_step_prunes_and_leaves_what_it_promises(
    argo: dict[str, Any], mutual: ServerProcess, secret: Path, model: Path
) -> None:
    done = run_argo_step(argo, model.parent, secret, server=mutual.address)
    assert (done.returncode, done.stderr) == (0, "")
    (template,) = argo["spec"]["templates"]
    pruned, report = (model.parent / Path(each["path"]).name for each in template["outputs"]["artifacts"])
    assert load_file(pruned)["fc.weight"].tolist() == [[0.0, -4.0], [3.0, 0.0]]
    assert json.loads(report.read_text())["sparsity"] == 0.5


@pytest.mark.parametrize(
    ("values", "status"),
    [
        pytest.param({"sparsity": "1.5"}, 2, id="no sparsity"),
        pytest.param({"server": "127.0.0.1"}, 2, id="no address"),
        pytest.param({"server": "127.0.0.1:1"}, 1, id="no server"),
    ],
)
def test_argo_step_is_tried_again_unless_it_makes_no_sense(
    argo: dict[str, Any],
    mutual: ServerProcess,
    secret: Path,
    model: Path,
    values: dict[str, str],
    status: int,
) -> None:
    (template,) = argo["spec"]["templates"]
    assert template["retryStrategy"]["expression"] == "asInt(lastRetry.exitCode) != 2"
    done = run_argo_step(argo, model.parent, secret, **({"server": mutual.address} | values))
    assert done.returncode == status
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.integration
@pytest.mark.timeout(600)  # the first time, an environment is made
def test_kubeflow_compiles_to_what_is_committed(tmp_path: Path) -> None:
    script = tmp_path / "kubeflow.py"
    script.write_bytes((PIPELINES / "kubeflow.py").read_bytes())
    subprocess.run([python_with("kubeflow", KUBEFLOW), script], check=True)
    assert (tmp_path / "kubeflow.yaml").read_text() == (PIPELINES / "kubeflow.yaml").read_text()


@pytest.mark.parametrize(("sparsity", "pruned"), [("0.5", 2), ("1", 4)], ids=["half", "1.0 as Kubeflow writes it"])
def test_kubeflow_component_prunes(
    kubeflow: dict[str, Any], mutual: ServerProcess, secret: Path, model: Path, sparsity: str, pruned: int
) -> None:
    values = {
        "$.inputs.artifacts['model'].path": str(model),
        "$.outputs.artifacts['pruned'].path": str(model.parent / "pruned"),
        "$.outputs.artifacts['report'].path": str(model.parent / "report"),
        "$.inputs.parameters['sparsity']": sparsity,
        "$.inputs.parameters['server']": mutual.address,
    }
    container = kubeflow["deploymentSpec"]["executors"]["exec-prune"]["container"]
    words = [filled(word, values) for word in (*container["command"], *container["args"])]
    done = run([word.replace("/tls/", f"{secret}/") for word in words])
    assert done.returncode == 0, done.stderr
    assert int((load_file(model.parent / "pruned")["fc.weight"] == 0).sum()) == pruned
    assert json.loads((model.parent / "report").read_text())["pruned"] == pruned


def test_steps_are_of_the_image_that_is_built(argo: dict[str, Any], kubeflow: dict[str, Any]) -> None:
    steps = argo["spec"]["templates"][0], kubeflow["deploymentSpec"]["executors"]["exec-prune"]
    assert {step["container"]["image"] for step in steps} == {tag("client")}


LOGGED = """
import json, runpy, sys, mlflow
script = sys.argv.pop(1)
runpy.run_path(script)
(run,) = mlflow.search_runs(output_format="list")
files = [file.path for file in mlflow.artifacts.list_artifacts(run_id=run.info.run_id)]
json.dump({"metrics": run.data.metrics, "params": run.data.params, "files": sorted(files)}, open("logged.json", "w"))
"""


@pytest.mark.integration
@pytest.mark.timeout(600)  # the first time, an environment is made
def test_report_and_file_are_logged_to_mlflow(server: ServerProcess, model: Path) -> None:
    folder = model.parent
    words: list[str | Path] = ["run", model, "-o", folder / "pruned.safetensors", "--report", folder / "report.json"]
    rule = ["--method", "l1_unstructured", "--sparsity", "0.75", "--server", server.address]
    subprocess.run([sys.executable, "-m", "pruning_client", *words, *rule], check=True, capture_output=True)
    script: list[str | Path] = [
        python_with("mlflow", MLFLOW),
        "-c",
        LOGGED,
        PIPELINES / "log_to_mlflow.py",
        "report.json",
    ]
    store = os.environ | {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    subprocess.run(script, cwd=folder, env=store, check=True, capture_output=True)
    logged = json.loads((folder / "logged.json").read_text())
    assert logged["metrics"]["sparsity"] == 0.75
    assert logged["metrics"]["pruned"] == 3
    assert logged["params"]["device"] == "cpu"
    assert logged["files"] == ["pruned.safetensors", "report.json"]
