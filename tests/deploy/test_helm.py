"""The Helm chart: what helm's own code says of it, and that it renders to what the overlays of Kustomize render to."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.environments import ROOT, python_with
from tests.deploy.rendered import Manifest, rendered
from tests.repository.installed import PROJECT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]  # the first time, environments are made

HELM = "helm-python-sdk==0.2.2"  # helm 4.2.3 as a library
CHART = ROOT / "deploy" / "helm" / "pruning-service"
LINT = (
    "import sys, json, helm_python as h; print(json.dumps(h.lint(sys.argv[1], json.loads(sys.argv[2]), strict=True)))"
)
RENDER = """
import sys, json, helm_python as h
with h.Chart.load(sys.argv[1]) as chart:
    try:
        print(json.dumps(chart.render(json.loads(sys.argv[2]), name="x", namespace="pruning")))
    except h.HelmError as error:
        sys.exit(str(error))
"""

TOKENS = {"tls": {"enabled": True, "clientCertificates": False}, "tokens": {"enabled": True}}
JOBS = {"enabled": True, "stores": "s3://example-models", "region": "eu-central-1"}
ROLE = {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/pruning-service"}
SAME = [
    pytest.param({}, "overlays/cpu", id="cpu"),
    pytest.param({"device": "cuda"}, "overlays/gpu", id="gpu"),
    pytest.param({"tls": {"enabled": True}}, "overlays/mtls", id="mtls"),
    pytest.param(TOKENS, "overlays/tokens", id="tokens"),
    pytest.param({**TOKENS, "jobs": JOBS, "serviceAccount": {"annotations": ROLE}}, "overlays/jobs", id="jobs"),
    pytest.param({"serviceMonitor": {"enabled": True}}, "overlays/monitoring", id="monitoring"),
]
NOT_IN_THE_CHART = ("Namespace", "PrometheusRule", "ConfigMap")


def helm(script: str, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [python_with("helm", [HELM]), "-c", script, CHART, json.dumps(values)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def chart(values: dict[str, Any]) -> dict[tuple[str, str], Manifest]:
    """The objects that the chart renders to, by kind and name."""
    done = helm(RENDER, values)
    assert done.returncode == 0, done.stderr
    files = json.loads(done.stdout).values()
    return by_name(each for file in files for each in yaml.safe_load_all(file) if each)


def by_name(objects: Iterator[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(each["kind"], each["metadata"]["name"]): comparable(each) for each in objects}


def comparable(value: Any) -> Any:
    """A manifest without its namespace and image; lists of named things by their names, in whatever order."""
    if isinstance(value, dict):
        left_out = ("namespace", "image") if "name" in value else ()
        return {key: comparable(each) for key, each in value.items() if key not in left_out}
    if isinstance(value, list):
        return sorted(map(comparable, value), key=lambda each: json.dumps(each, sort_keys=True))
    return value


@pytest.mark.parametrize(("values", "folder"), SAME)
def test_chart_renders_to_what_the_overlay_does(values: dict[str, Any], folder: str) -> None:
    overlay = by_name(each for each in rendered(folder).objects if each["kind"] not in NOT_IN_THE_CHART)
    overlay["Deployment", "pruning-service"]["metadata"].pop("annotations")  # checkov's
    assert chart(values) == overlay


@pytest.mark.parametrize("values", [each.values[0] for each in SAME])
def test_helm_has_nothing_to_say(values: dict[str, Any]) -> None:
    report = json.loads(helm(LINT, values).stdout)
    assert report["errors"] == []
    assert [each for each in report["messages"] if "icon is recommended" not in each["error"]] == []


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"tokens": {"enabled": True}}, "tokens.enabled needs tls.enabled"),
        ({"tls": {"enabled": True, "clientCertificates": False}}, "say who may call with tokens.enabled"),
        ({"jobs": {"enabled": True}}, "jobs.enabled needs jobs.stores"),
    ],
    ids=["tokens in plaintext", "anyone may call", "jobs nowhere"],
)
def test_values_that_make_no_server_are_refused(values: dict[str, Any], wrong: str) -> None:
    done = helm(RENDER, values)
    assert done.returncode == 1
    assert wrong in done.stderr


def test_values_reach_the_pod() -> None:
    found = helm(
        RENDER,
        {
            "image": {"repository": "r/p", "digest": "sha256:0"},
            "replicas": 5,
            "env": {"PRUNING_LOG_FORMAT": "json"},
            "userNamespaces": False,
            "nodeSelector": {"pool": "big"},
            "tolerations": [{"key": "k", "operator": "Exists"}],
            "podAnnotations": {"a": "b"},
        },
    )
    (text,) = (file for name, file in json.loads(found.stdout).items() if name.endswith("deployment.yaml"))
    spec = yaml.safe_load(text)["spec"]
    pod = spec["template"]["spec"]
    assert (spec["replicas"], spec["template"]["metadata"]["annotations"]) == (5, {"a": "b"})
    assert pod["containers"][0]["image"] == "r/p@sha256:0"
    assert {"name": "PRUNING_LOG_FORMAT", "value": "json"} in pod["containers"][0]["env"]
    assert "hostUsers" not in pod
    assert (pod["nodeSelector"], pod["tolerations"]) == ({"pool": "big"}, [{"key": "k", "operator": "Exists"}])


def test_chart_has_the_version_of_the_project() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert about["version"] == about["appVersion"] == PROJECT["project"]["version"]
