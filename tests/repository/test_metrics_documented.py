"""`docs/metrics.md` has every metric of a server, with its type and its labels, and no other."""

import re

import pytest
from prometheus_client.core import Metric

from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.observability.metrics import CODES, STAGES, Metrics
from pruning_service.observability.rpc_metrics import MetricsInterceptor
from tests.repository.modules import ROOT

DOCUMENT = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
ROWS = {
    row["name"]: row
    for row in re.finditer(
        r"^\| `(?P<name>\w+)` \| (?P<type>\w+) \| (?P<unit>[^|]+) \|(?P<labels>[^|]*)\| (?P<meaning>[^|]+) \|$",
        DOCUMENT,
        re.M,
    )
}
UNITS = {"seconds": "seconds", "bytes": "bytes", "ratio": "ratio"}
"""What a unit is called at the end of a metric's name, where it is one of Prometheus' base units."""


def families() -> dict[str, Metric]:
    """Return the metrics of a server that has done nothing, by the names that a query has."""
    metrics = Metrics("0", "cpu", "numpy")
    MetricsInterceptor(metrics, pb.DESCRIPTOR.services_by_name.values())
    return {
        family.name + ("_total" if family.type == "counter" else ""): family for family in metrics.registry.collect()
    }


FAMILIES = families()


def labels_of(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels} - {"le"}


def values_of(label: str) -> set[str]:
    return {sample.labels[label] for family in FAMILIES.values() for sample in family.samples if label in sample.labels}


def test_every_metric_has_one_row() -> None:
    assert sorted(ROWS) == sorted(FAMILIES)


@pytest.mark.parametrize("name", ROWS)
def test_row_gives_the_type_and_the_labels(name: str) -> None:
    assert ROWS[name]["type"] == FAMILIES[name].type
    assert set(re.findall(r"`(\w+)`", ROWS[name]["labels"])) == labels_of(FAMILIES[name])


@pytest.mark.parametrize("name", ROWS)
def test_name_ends_in_the_unit_of_the_row(name: str) -> None:
    unit = UNITS.get(ROWS[name]["unit"].split()[0])
    assert unit is None or name.removesuffix("_total").endswith(f"_{unit}")


@pytest.mark.parametrize("label", ["stage", "outcome", "scope", "granularity", "state", "step", "scheme", "direction"])
def test_values_of_a_label_are_told(label: str) -> None:
    documented = re.search(rf"`{label}`: ([^.]+)\.", DOCUMENT)
    assert documented
    assert values_of(label) <= set(re.findall(r"`(\w+)`", documented[1]))


def test_stages_are_those_of_the_series() -> None:
    assert values_of("stage") == set(STAGES)


def test_codes_are_spelled_as_go_spells_them() -> None:
    # Source: https://pkg.go.dev/google.golang.org/grpc/codes, Code.String.
    assert sorted(CODES.values()) == [
        *("Aborted", "AlreadyExists", "Canceled", "DataLoss", "DeadlineExceeded", "FailedPrecondition", "Internal"),
        *("InvalidArgument", "NotFound", "OK", "OutOfRange", "PermissionDenied", "ResourceExhausted"),
        *("Unauthenticated", "Unavailable", "Unimplemented", "Unknown"),
    ]
