"""The dashboard and the alerts on a real Prometheus that scrapes a real server under load."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.prometheus import RATE_INTERVAL, Prometheus, running_prometheus
from tests.repository.modules import ROOT
from tests.servers import ServerProcess, running_server
from tests.service import raw
from tests.service.raw import f32, file, l1, prune, wait_until
from tests.service.test_server import capabilities

MONITORING = ROOT / "deploy" / "monitoring"
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
VARIABLES = {"$__rate_interval": RATE_INTERVAL, "$job": ".*", "$instance": ".*"}
CONTENT = file({"a.weight": ("F32", [2, 2], f32(4, -1, 3, -2))})
CHANNELS = pb.Rule(
    score=pb.Score(magnitude=pb.Magnitude()),
    granularity=pb.Granularity(channels=pb.Channels(dim=0)),
    scope=pb.SCOPE_GLOBAL,
    amount=pb.Amount(count=1),
)


def filled(query: str) -> str:
    """Put values for a dashboard's variables."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


def queries() -> Iterator[Any]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield pytest.param(filled(target["expr"]), id=f"{panel['title']}-{target['refId']}")


def examples() -> list[str]:
    """Return the queries of docs/metrics.md; one that goes over several lines is indented."""
    blocks = re.findall(
        r"^```promql\n(.*?)^```$", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"), re.M | re.S
    )
    return [query for block in blocks for query in re.split(r"\n(?! )", block) if query]


@contextmanager
def load(server: ServerProcess) -> Iterator[None]:
    """Call a server again and again while inside: with what it can do, and with what it cannot."""
    enough = threading.Event()

    def calling() -> None:
        while not enough.wait(0.02):
            prune(server.address, CONTENT)
            prune(server.address, CONTENT, rules=[CHANNELS])
            prune(server.address, CONTENT, rules=[l1(2.0)])
            capabilities(server.address)

    caller = threading.Thread(target=calling)
    caller.start()
    try:
        yield
    finally:
        enough.set()
        caller.join()


def too_large() -> list[pb.PruneRequest]:
    """Return what begins to send a model of 4 TB."""
    tensor = {"dtype": "F32", "shape": [1_000_000, 1_000_000], "data_offsets": [0, 4 * 10**12]}
    content = raw.with_header(json.dumps({"a.weight": tensor}).encode())
    return [raw.options(content, total_bytes=len(content) + 4 * 10**12), *raw.data(content)]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server of its own, under load."""
    with running_server() as server, load(server):
        yield server


@pytest.fixture(scope="module")
def prometheus(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with the alerts, which scrapes it."""
    folder: Path = tmp_path_factory.mktemp("prometheus")
    with running_prometheus(folder, server.metrics_address, MONITORING / "alerts.yaml") as prometheus:
        yield prometheus


@pytest.mark.parametrize("query", list(queries()))
def test_panel_has_data(prometheus: Prometheus, query: str) -> None:
    assert wait_until(lambda: prometheus.values(query) != []), query


@pytest.mark.parametrize("query", examples())
def test_example_of_the_document_has_data(prometheus: Prometheus, query: str) -> None:
    assert wait_until(lambda: prometheus.values(query) != []), query


@pytest.mark.parametrize("variable", ["job", "instance"])
def test_variable_has_values(prometheus: Prometheus, variable: str) -> None:
    (found,) = (each for each in DASHBOARD["templating"]["list"] if each["name"] == variable)
    series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", filled(found["definition"])).groups()  # type: ignore[union-attr]

    assert wait_until(lambda: prometheus.ask(f"label/{label}/values", **{"match[]": series}) != [])


@pytest.mark.parametrize("annotation", DASHBOARD["annotations"]["list"], ids=lambda annotation: annotation["name"])
def test_annotation_is_a_query(prometheus: Prometheus, annotation: dict[str, Any]) -> None:
    prometheus.values(filled(annotation["expr"]))


def test_rules_are_evaluated(prometheus: Prometheus) -> None:
    def health() -> set[str]:
        return {rule["health"] for group in prometheus.ask("rules")["groups"] for rule in group["rules"]}

    assert wait_until(lambda: health() == {"ok"})


def test_no_alert_fires_while_all_is_well_and_the_right_one_once_it_is_not(
    server: ServerProcess, prometheus: Prometheus
) -> None:
    def firing() -> set[str]:
        return {
            alert["labels"]["alertname"] for alert in prometheus.ask("alerts")["alerts"] if alert["state"] == "firing"
        }

    assert wait_until(lambda: prometheus.values("job:pruning_faults:ratio_rate5m") != [])
    assert firing() == set()
    assert raw.call(server.address, too_large()).failure.reason == Reason.MODEL_TOO_LARGE
    assert wait_until(lambda: firing() == {"PruningModelTooLarge"})


def test_ratio_of_faults_is_recorded(prometheus: Prometheus) -> None:
    assert wait_until(lambda: prometheus.values("job:pruning_faults:ratio_rate5m") == [0.0])
