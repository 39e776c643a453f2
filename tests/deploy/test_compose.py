"""The compose file: what it mounts is there, its ports stay on this machine, and Prometheus reads its configuration."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pruning_service.settings import read_settings
from scripts.environments import ROOT
from scripts.images import TARGETS
from tests.prometheus import promtool

COMPOSE = ROOT / "deploy" / "compose"
SERVICES: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))["services"]
IMAGE = {"PRUNING_LISTEN": "0.0.0.0:50051", "PRUNING_METRICS_LISTEN": "0.0.0.0:9464"}  # as the Dockerfile sets


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_published_on_the_loopback_interface_only(service: str) -> None:
    assert [port for port in SERVICES[service].get("ports", []) if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("service", SERVICES)
def test_mounted_files_are_there_and_read_only(service: str) -> None:
    for mount in SERVICES[service].get("volumes", []):
        source, _, mode = mount.split(":")
        assert (COMPOSE / source).exists(), source
        assert mode == "ro"


def test_server_is_an_image_of_ours_with_settings_that_it_accepts() -> None:
    server = SERVICES["pruning-service"]
    assert server["build"]["target"] in TARGETS
    assert (COMPOSE / server["build"]["context"] / "Dockerfile").resolve() == ROOT / "Dockerfile"
    assert read_settings({**IMAGE, **server["environment"]}).allow_plaintext


def test_prometheus_accepts_its_configuration_and_scrapes_the_server(tmp_path: Path) -> None:
    for mount in SERVICES["prometheus"]["volumes"]:
        source, target, _ = mount.split(":")
        shutil.copy(COMPOSE / source, tmp_path / Path(target).name)
    promtool("check", "config", str(tmp_path / "prometheus.yml"))
    configuration = yaml.safe_load((tmp_path / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = configuration["scrape_configs"]
    name, _, port = job["static_configs"][0]["targets"][0].partition(":")
    assert name in SERVICES
    assert IMAGE["PRUNING_METRICS_LISTEN"].endswith(f":{port}")


def test_grafana_asks_prometheus_and_finds_the_dashboard() -> None:
    datasource = yaml.safe_load((COMPOSE / "grafana/datasources/prometheus.yaml").read_text(encoding="utf-8"))
    assert datasource["datasources"][0]["url"] == "http://prometheus:9090"
    provider = yaml.safe_load((COMPOSE / "grafana/dashboards/pruning-service.yaml").read_text(encoding="utf-8"))
    folder = provider["providers"][0]["options"]["path"]
    assert any(mount.split(":")[1].startswith(f"{folder}/") for mount in SERVICES["grafana"]["volumes"])
