"""The alerts and the dashboard as files: tested, distinct, and about metrics that exist."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
import yaml

from scripts.prometheus_rule import MONITORING, SOURCE, TARGET, prometheus_rule
from tests.prometheus import promtool
from tests.repository.test_metrics_documented import FAMILIES

TESTS = MONITORING / "alerts_test.yaml"
RULES = [rule for group in yaml.safe_load(SOURCE.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDS = {rule["record"] for rule in RULES if "record" in rule}
EXAMPLES = yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
COLUMNS = 24

alerts = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
panels = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])


def expectations(alert: str) -> Iterator[bool]:
    """Give, test after test, whether an alert is expected to fire."""
    for example in EXAMPLES:
        for test in example["alert_rule_test"]:
            if test["alertname"] == alert:
                yield bool(test["exp_alerts"])


def metrics_in(query: str) -> set[str]:
    """Return the names in a query that look like metrics of ours or of a process."""
    return set(re.findall(r"\b(?:job:)?(?:grpc_server|pruning|process)_[\w:]+", query))


def known_metrics() -> set[str]:
    series = {sample.name for family in FAMILIES.values() for sample in family.samples}
    return series | RECORDS


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in ("xw", "yh"))


def test_rules_are_sound() -> None:
    promtool("check", "rules", str(SOURCE))


def test_alerts_fire_and_stay_quiet_as_their_tests_say() -> None:
    promtool("test", "rules", str(TESTS))


@alerts
def test_alert_has_a_test_in_which_it_fires_and_one_in_which_it_stays_quiet(alert: dict[str, Any]) -> None:
    assert set(expectations(alert["alert"])) == {True, False}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_name_of_a_test_says_what_it_expects(example: dict[str, Any]) -> None:
    (test,) = example["alert_rule_test"]
    assert example["name"].startswith(f"{test['alertname']} {'fires' if test['exp_alerts'] else 'stays quiet'}")


@alerts
def test_alert_says_what_is_wrong_how_bad_it_is_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/operating.md#alert-{alert['alert'].lower()}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_rule_is_about_metrics_that_there_are(rule: dict[str, Any]) -> None:
    assert metrics_in(rule["expr"]) <= known_metrics()


def test_rule_of_the_operator_is_the_rule_file() -> None:
    # If it is not: python -m scripts.prometheus_rule
    assert TARGET.read_text(encoding="utf-8") == prometheus_rule(SOURCE.read_text(encoding="utf-8"))
    assert yaml.safe_load(TARGET.read_text(encoding="utf-8"))["spec"] == yaml.safe_load(
        SOURCE.read_text(encoding="utf-8")
    )


@panels
def test_panel_says_what_it_shows_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]


@panels
def test_panel_asks_the_chosen_source_for_the_chosen_servers(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"
        assert metrics_in(target["expr"]) <= known_metrics()
        assert target["expr"].count("{") == target["expr"].count('{job=~"$job", instance=~"$instance"')


def test_panels_have_their_own_places_and_numbers() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] + place["w"] <= COLUMNS for place in places)
    assert not [pair for pair in combinations(places, 2) if overlap(*pair)]
    assert set(Counter(panel["id"] for panel in DASHBOARD["panels"]).values()) == {1}
