"""The page for operators: a section for each alert, and no word in it that the service does not know."""

import re
from typing import Any

import pytest
import yaml

from pruning_service.local_settings import PREFIX
from pruning_service.settings import Settings
from scripts.environments import ROOT

PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
RULES = yaml.safe_load((ROOT / "deploy" / "monitoring" / "alerts.yaml").read_text(encoding="utf-8"))
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
NAMES = [alert["alert"] for alert in ALERTS]


def sections() -> dict[str, str]:
    """Return what is said of each alert."""
    found = re.findall(r'<a id="alert-(\w+)"></a>\n### (\w+)\n(.*?)(?=\n<a id=|\Z)', PAGE, re.DOTALL)
    assert [name.lower() for _, name, _ in found] == [anchor for anchor, _, _ in found]
    return {name: text for _, name, text in found}


def test_each_alert_has_its_section_and_each_section_its_alert() -> None:
    assert sorted(sections()) == sorted(NAMES)


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_alert_links_to_its_section(alert: dict[str, Any]) -> None:
    assert alert["annotations"]["runbook_url"] == f"docs/operating.md#alert-{alert['alert'].lower()}"


@pytest.mark.parametrize("name", NAMES)
def test_section_says_what_it_means_where_to_look_and_what_to_do(name: str) -> None:
    assert re.findall(r"^- \*\*(\w+)\*\*", sections()[name], re.MULTILINE) == ["Means", "Look", "Do"]


def test_settings_that_it_names_exist() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert set(re.findall(r"PRUNING_[A-Z_]+", PAGE)) <= known


def test_metrics_that_it_names_exist() -> None:
    known = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:pruning|grpc|process)_[a-z_]+)`", PAGE))
    assert named
    assert {metric for metric in named if f"| `{metric}` |" not in known} == set()


def test_files_that_it_names_are_there() -> None:
    folders = (ROOT, ROOT / "deploy" / "kubernetes")
    named = set(re.findall(r"`((?:deploy|overlays|components|examples|base)/[\w./-]+)`", PAGE))
    assert named
    assert {name for name in named if not any((folder / name).exists() for folder in folders)} == set()
