"""Write deploy/monitoring/prometheus-rule.yaml, the alerts for Kubernetes: `python -m scripts.prometheus_rule`.

The Prometheus operator wants the groups of a rule file inside an object of its own. The text goes in as it is, comments
and all; a test holds the two files together.
"""

import textwrap
from typing import Final

from scripts.environments import ROOT

MONITORING: Final = ROOT / "deploy" / "monitoring"
SOURCE: Final = MONITORING / "alerts.yaml"
TARGET: Final = MONITORING / "prometheus-rule.yaml"

_HEAD: Final = """\
# Generated from alerts.yaml by `python -m scripts.prometheus_rule`: change that one.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: pruning-service
  labels:
    app.kubernetes.io/name: pruning-service
spec:
"""


def prometheus_rule(alerts: str) -> str:
    """Return the text of the PrometheusRule for the text of a rule file."""
    return _HEAD + textwrap.indent(alerts, "  ")


if __name__ == "__main__":
    TARGET.write_text(prometheus_rule(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")
