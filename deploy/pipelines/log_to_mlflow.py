"""Log the report and the file of `prune run ... --report REPORT.json` to MLflow: log_to_mlflow.py REPORT.json."""

import json
import sys
from pathlib import Path

import mlflow

report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
with mlflow.start_run():
    mlflow.log_params({name: report[name] for name in ("version", "device", "seed", "request_id")})
    mlflow.log_metrics({name: report[name] for name in ("entries", "pruned_before", "pruned", "sparsity")})
    mlflow.log_metrics({f"seconds/{stage}": seconds for stage, seconds in report["seconds"].items()})
    mlflow.log_artifact(report["out"])
    mlflow.log_artifact(sys.argv[1])
