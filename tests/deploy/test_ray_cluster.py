"""The Ray cluster of the overlay: its fields are KubeRay's, its pods as restricted as the service's, and both fit."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from pruning_service.settings import read_settings
from scripts.environments import pinned
from tests.deploy.rendered import Manifest, Rendered, rendered
from tests.deploy.test_kubernetes import bytes_of, validated

FIELDS = {
    "spec": {"authOptions", "headGroupSpec", "rayVersion", "workerGroupSpecs"},
    "authOptions": {"mode", "secretName"},
    "headGroupSpec": {"rayStartParams", "template"},
    "workerGroupSpecs": {"groupName", "maxReplicas", "minReplicas", "rayStartParams", "replicas", "template"},
}
"""Of `ray.io/v1` as KubeRay 1.7 has it, those that are used here. An API server drops others silently."""


@cache
def overlay() -> Rendered:
    return rendered("overlays/ray")


def cluster() -> Manifest:
    return overlay().one("RayCluster")


def groups() -> Iterator[Manifest]:
    yield cluster()["spec"]["headGroupSpec"]
    yield from cluster()["spec"]["workerGroupSpecs"]


def containers() -> list[Manifest]:
    return [container for group in groups() for container in group["template"]["spec"]["containers"]]


def test_fields_are_those_of_the_operator() -> None:
    spec = cluster()["spec"]
    found = [("spec", spec), ("authOptions", spec["authOptions"]), ("headGroupSpec", spec["headGroupSpec"])]
    found += [("workerGroupSpecs", group) for group in spec["workerGroupSpecs"]]
    assert {name: set(fields) - FIELDS[name] for name, fields in found} == {name: set() for name in FIELDS}


@pytest.mark.integration
@pytest.mark.timeout(600)  # the first time, an environment is made
def test_pods_are_valid_to_the_last_field(tmp_path: Path) -> None:
    for number, group in enumerate(groups()):
        pod = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
        pod["metadata"] = {**pod["metadata"], "name": f"node-{number}"}
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(pod))
    done = validated(*tmp_path.glob("*.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_pods_are_as_restricted_as_those_of_the_service() -> None:
    for group in groups():
        pod = group["template"]["spec"]
        assert pod["securityContext"] == overlay().pod["securityContext"]
        assert (pod["automountServiceAccountToken"], pod["hostUsers"]) == (False, False)
        assert pod["serviceAccountName"] == overlay().pod["serviceAccountName"]
    assert [one["securityContext"] for one in containers()] == [overlay().container["securityContext"]] * 2


def test_nodes_and_service_have_one_image_with_the_version_of_ray() -> None:
    images = {one["image"] for one in containers()} | {overlay().container["image"]}
    assert len(images) == 1
    assert re.fullmatch(r".*:\d+\.\d+\.\d+-ray", images.pop())
    assert pinned("ray") == f"ray=={cluster()['spec']['rayVersion']}"


def test_service_finds_the_head_and_its_token() -> None:
    settings = read_settings(overlay().environment)
    name = cluster()["metadata"]["name"]
    port = next(port for port in containers()[0]["ports"] if port["name"] == "client")
    assert settings.executor == "ray"
    assert settings.ray_address == f"ray://{name}-head-svc:{port['containerPort']}"
    (secret,) = (each["secret"] for each in overlay().pod["volumes"] if each["name"] == "ray-token")
    assert secret["secretName"] == name
    assert cluster()["spec"]["authOptions"] == {"mode": "token"}
    assert overlay().environment["RAY_AUTH_MODE"] == "token"


def test_head_carries_out_no_parts() -> None:
    assert next(groups())["rayStartParams"]["num-cpus"] == "0"


def test_home_can_be_written_and_disks_are_limited() -> None:
    for group, one in zip(groups(), containers(), strict=True):
        (home,) = (variable["value"] for variable in one["env"] if variable["name"] == "HOME")
        volumes = {each["name"]: each["emptyDir"] for each in group["template"]["spec"]["volumes"]}
        assert home in {mount["mountPath"] for mount in one["volumeMounts"]}
        assert bytes_of(volumes["tmp"]["sizeLimit"]) < bytes_of(one["resources"]["limits"]["ephemeral-storage"])
        assert int(group["rayStartParams"]["object-store-memory"]) < bytes_of(volumes["shm"]["sizeLimit"])


def test_only_the_service_and_other_nodes_reach_a_node() -> None:
    policy = overlay().one("NetworkPolicy", "pruning-ray")["spec"]
    nodes, service = policy["ingress"]
    labels = {group["template"]["metadata"]["labels"]["app.kubernetes.io/name"] for group in groups()}
    assert labels == {policy["podSelector"]["matchLabels"]["app.kubernetes.io/name"]}
    assert nodes["from"] == [{"podSelector": policy["podSelector"]}]
    assert service["ports"] == [{"port": "client"}]
