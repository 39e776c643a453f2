"""The manifests: each folder renders, is valid to the last field, and has all the settings that the server needs."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pruning_service.settings import read_settings
from scripts.environments import ROOT, python_with
from tests.deploy.rendered import FOLDERS, NAME, OVERLAYS, Manifest, example, rendered, written

MONITORING = ROOT / "deploy" / "monitoring"
GIB = 2**30
FAILURE_GRACE_SECONDS = 3
WITH_JOBS = ("overlays/jobs", "overlays/ray")
with_jobs = pytest.mark.parametrize("folder", WITH_JOBS)
every_folder = pytest.mark.parametrize("folder", FOLDERS)
every_overlay = pytest.mark.parametrize("folder", OVERLAYS)


def validated(*files: Path) -> subprocess.CompletedProcess[str]:
    python = python_with("kubernetes-validate", ["kubernetes-validate==1.37.0"])
    command = [str(python.with_name("kubernetes-validate")), "--strict", "-k", "1.32", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.integration
@pytest.mark.timeout(600)  # the first time, an environment is made
@every_folder
def test_every_object_is_valid_to_the_last_field(folder: str, tmp_path: Path) -> None:
    done = validated(written(folder, tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_a_field_that_kubernetes_does_not_know_is_found(tmp_path: Path) -> None:
    file = written("base", tmp_path)
    file.write_text(file.read_text().replace("automountServiceAccountToken", "automountServiceAcountToken"))
    assert validated(file).returncode != 0


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_autoscaler_is_valid_and_scales_the_deployment() -> None:
    assert validated(ROOT / "deploy/kubernetes/examples/horizontal-pod-autoscaler.yaml").returncode == 0
    (autoscaler,) = example("horizontal-pod-autoscaler.yaml")
    target, deployment = autoscaler["spec"]["scaleTargetRef"], rendered("overlays/cpu").one("Deployment")
    assert (target["kind"], target["name"]) == (deployment["kind"], deployment["metadata"]["name"])
    assert autoscaler["metadata"]["namespace"] == deployment["metadata"]["namespace"]


def test_autoscaler_adds_replicas_before_the_budget_is_full() -> None:
    (autoscaler,) = example("horizontal-pod-autoscaler.yaml")
    (metric,) = autoscaler["spec"]["metrics"]
    assert bytes_of(metric["pods"]["target"]["averageValue"]) < budget_bytes("overlays/cpu")


def test_certificates_of_the_example_are_those_that_are_mounted() -> None:
    made = {item["spec"]["secretName"] for item in example("certificate.yaml") if item["kind"] == "Certificate"}
    mounted = {
        volume["secret"]["secretName"] for volume in rendered("overlays/mtls").pod["volumes"] if "secret" in volume
    }
    assert mounted == {"pruning-service-tls"}
    assert mounted <= made


def test_certificate_of_the_example_bears_the_name_that_clients_call() -> None:
    named = {name for item in example("certificate.yaml") for name in item["spec"].get("dnsNames", [])}
    service = rendered("overlays/mtls").one("Service")["metadata"]
    assert f"{service['name']}.{service['namespace']}.svc" in named


@every_folder
def test_pods_ask_for_no_more_than_the_restricted_standard(folder: str) -> None:
    pod, container = rendered(folder).pod, rendered(folder).container
    assert pod["securityContext"].items() >= {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532}.items()
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@every_folder
def test_namespace_refuses_pods_that_ask_for_more(folder: str) -> None:
    labels = rendered(folder).one("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@every_folder
def test_standard_that_is_enforced_does_not_change_with_the_cluster(folder: str) -> None:
    labels = rendered(folder).one("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce-version"] == "v1.32"


@every_folder
def test_user_of_a_pod_is_another_one_on_its_node(folder: str) -> None:
    assert rendered(folder).pod["hostUsers"] is False


@every_folder
def test_pod_replaces_another_only_when_it_stayed_ready(folder: str) -> None:
    assert rendered(folder).one("Deployment")["spec"]["minReadySeconds"] == 10


@every_overlay
def test_storage_of_a_pod_on_its_node_is_limited(folder: str) -> None:
    limit = bytes_of(rendered(folder).container["resources"]["limits"]["ephemeral-storage"])
    volumes = [volume["emptyDir"] for volume in rendered(folder).pod["volumes"] if "emptyDir" in volume]
    assert sum(bytes_of(volume["sizeLimit"]) for volume in volumes) < limit


@every_folder
def test_nothing_in_the_namespace_is_reached_unless_a_policy_allows_it(folder: str) -> None:
    policy = rendered(folder).one("NetworkPolicy", "default-deny")["spec"]
    assert policy == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@every_folder
def test_callers_are_in_namespaces_that_are_labelled(folder: str) -> None:
    allowed = rendered(folder).one("NetworkPolicy", "pruning-service")["spec"]["ingress"]
    selectors = [selector["namespaceSelector"] for rule in allowed for selector in rule["from"]]
    assert len(selectors) == len(allowed)
    assert all(selector["matchLabels"] for selector in selectors)


def test_overlay_of_tokens_asks_for_one_over_tls() -> None:
    environment, container = rendered("overlays/tokens").environment, rendered("overlays/tokens").container
    assert not environment.keys() & {"PRUNING_ALLOW_PLAINTEXT", "PRUNING_TLS_CLIENT_CA"}
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "tokens")
    assert str(Path(environment["PRUNING_TOKEN_FILE"]).parent) == mount["mountPath"]


@every_folder
def test_pods_hold_no_token_of_kubernetes(folder: str) -> None:
    assert rendered(folder).pod["automountServiceAccountToken"] is False
    assert rendered(folder).one("ServiceAccount")["automountServiceAccountToken"] is False


@every_folder
@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_speak_grpc_to_the_health_port(folder: str, probe: str) -> None:
    _, _, port = rendered(folder).environment["PRUNING_HEALTH_LISTEN"].rpartition(":")
    assert rendered(folder).container[probe]["grpc"] == {"port": int(port)}


@every_folder
def test_ports_are_those_that_the_server_is_told(folder: str) -> None:
    listening = {rendered(folder).environment[f"PRUNING_{name}LISTEN"] for name in ("", "HEALTH_", "METRICS_")}
    assert listening == {f"0.0.0.0:{port['containerPort']}" for port in rendered(folder).container["ports"]}


@every_folder
def test_settings_are_the_servers_own(folder: str) -> None:
    assert read_settings(rendered(folder).environment).drain_seconds == 30


@every_folder
def test_pods_are_given_the_time_that_draining_takes(folder: str) -> None:
    pause = rendered(folder).container["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = read_settings(rendered(folder).environment).drain_seconds
    assert rendered(folder).pod["terminationGracePeriodSeconds"] > pause + drain + FAILURE_GRACE_SECONDS


@every_overlay
def test_limit_of_memory_is_the_budget_and_two_gib_for_the_process(folder: str) -> None:
    limit = rendered(folder).container["resources"]["limits"]["memory"]
    assert bytes_of(limit) >= budget_bytes(folder) + 2 * GIB


@every_overlay
def test_selections_leave_the_event_loop_a_core(folder: str) -> None:
    cores = int(rendered(folder).container["resources"]["limits"]["cpu"])
    assert int(rendered(folder).environment["PRUNING_THREADS"]) == cores - 1


@every_folder
def test_everything_selects_the_pods_of_the_deployment(folder: str) -> None:
    labels = rendered(folder).one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert labels.items() >= NAME.items()
    assert selectors(folder) == [NAME] * 6


def selectors(folder: str) -> list[Manifest]:
    found = rendered(folder)
    return [
        found.one("Deployment")["spec"]["selector"]["matchLabels"],
        found.one("Service")["spec"]["selector"],
        found.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        found.one("NetworkPolicy", "pruning-service")["spec"]["podSelector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in found.pod["topologySpreadConstraints"]),
    ]


@every_folder
def test_service_has_no_address_of_its_own_so_that_clients_see_every_pod(folder: str) -> None:
    assert rendered(folder).one("Service")["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder not in WITH_JOBS])
def test_nothing_leaves_a_pod(folder: str) -> None:
    policy = rendered(folder).one("NetworkPolicy", "pruning-service")["spec"]
    assert "Egress" in policy["policyTypes"]
    assert not policy.get("egress")


@with_jobs
def test_pod_with_jobs_reaches_names_and_tls_outside_the_cluster_only(folder: str) -> None:
    names, store = rendered(folder).one("NetworkPolicy", "pruning-service")["spec"]["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert store["ports"] == [{"port": 443}]
    assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(store["to"][0]["ipBlock"]["except"])


@with_jobs
def test_jobs_open_what_is_named_by_callers_with_tokens(folder: str) -> None:
    settings = read_settings(rendered(folder).environment)
    assert settings.stores is not None
    assert settings.token_file is not None


@with_jobs
def test_limit_of_memory_has_the_jobs_of_a_pod_too(folder: str) -> None:
    settings = read_settings(rendered(folder).environment)
    needed = settings.memory_bytes + 2 * GIB + settings.max_jobs * (settings.job_memory_bytes + GIB)
    assert bytes_of(rendered(folder).container["resources"]["limits"]["memory"]) >= needed


@with_jobs
def test_spool_files_fit_into_their_volume(folder: str) -> None:
    found = rendered(folder)
    (mount,) = (each for each in found.container["volumeMounts"] if each["name"] == "spool")
    (volume,) = (each for each in found.pod["volumes"] if each["name"] == "spool")
    assert mount["mountPath"] == found.environment["PRUNING_SPOOL_DIR"]
    settings = read_settings(found.environment)
    assert settings.spool_bytes * (1 + settings.max_jobs) < bytes_of(volume["emptyDir"]["sizeLimit"])


@pytest.mark.parametrize("folder", ["overlays/gpu", "examples/own-overlay"])
def test_rollout_needs_no_second_gpu(folder: str) -> None:
    assert rendered(folder).container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert rendered(folder).one("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0


@pytest.mark.parametrize("folder", ["overlays/gpu", "examples/own-overlay"])
def test_server_without_its_gpu_does_not_start(folder: str) -> None:
    assert rendered(folder).environment["PRUNING_DEVICE"] == "cuda"


@pytest.mark.parametrize("folder", ["overlays/mtls", "examples/own-overlay"])
def test_with_certificates_nothing_is_said_in_the_clear(folder: str) -> None:
    environment = rendered(folder).environment
    assert "PRUNING_ALLOW_PLAINTEXT" not in environment
    (mount,) = (mount for mount in rendered(folder).container["volumeMounts"] if mount["name"] == "tls")
    files = {environment[f"PRUNING_TLS_{name}"] for name in ("CERTIFICATE", "KEY", "CLIENT_CA")}
    assert {str(Path(file).parent) for file in files} == {mount["mountPath"]}


@pytest.mark.parametrize("folder", ["overlays/monitoring", "examples/own-overlay"])
def test_prometheus_is_told_of_the_port_that_the_service_has(folder: str) -> None:
    monitor, service = rendered(folder).one("ServiceMonitor"), rendered(folder).one("Service")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["metadata"]["namespace"] == service["metadata"]["namespace"]


def test_alerts_are_those_of_the_rule_file() -> None:
    rule = rendered("overlays/monitoring").one("PrometheusRule")
    assert rule["spec"] == yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))


def test_dashboard_is_the_one_that_is_tested() -> None:
    (content,) = rendered("overlays/monitoring").one("ConfigMap")["data"].values()
    assert json.loads(content) == json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))


def budget_bytes(folder: str) -> int:
    return read_settings(rendered(folder).environment).memory_bytes


def bytes_of(quantity: Any) -> int:
    number, unit = str(quantity)[:-2], str(quantity)[-2:]
    return int(number) * {"Mi": 2**20, "Gi": GIB}[unit]
