"""Prune with a server and watch it: its metrics, what Prometheus makes of them, and where the dashboard is.

    pip install 'pruning-service[numpy]'
    docker compose -f deploy/compose/compose.yaml up --build -d
    python examples/metrics_and_dashboard.py localhost:50051 --prometheus http://localhost:9090

Without docker: `prune serve --metrics-listen localhost:9464`, and `--metrics http://localhost:9464/metrics` here.
"""

import argparse
import json
import time
import urllib.parse
import urllib.request

import numpy as np

from pruning_client import Client, rules

QUERIES = (
    'sum(grpc_server_handled_total{grpc_method="Prune", grpc_code="OK"})',
    'histogram_quantile(0.5, sum by (le) (grpc_server_handling_seconds_bucket{grpc_method="Prune"}))',
)
SHOWN = ("grpc_server_handled_total", "pruning_parameters_total", "pruning_budget_bytes", "pruning_reserved_bytes")


def get(url: str) -> str:
    """Return what is at a URL."""
    return str(urllib.request.urlopen(url, timeout=10).read().decode())


def ask(prometheus: str, query: str) -> str:
    """Return a value from Prometheus, as soon as it has scraped one."""
    url, end = f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}", time.monotonic() + 60
    while not (found := json.loads(get(url))["data"]["result"]) and time.monotonic() < end:
        time.sleep(1)
    return str(found[0]["value"][1]) if found else "nothing yet"


def main() -> None:
    """Prune ten times, then print."""
    parser = argparse.ArgumentParser(description="Prune with a server, and print its metrics.")
    parser.add_argument("server")
    parser.add_argument("--metrics", help="the server's own page of metrics, a URL")
    parser.add_argument("--prometheus", help="a Prometheus that scrapes the server, a URL")
    options = parser.parse_args()
    weights = {"fc.weight": np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)}
    with Client(options.server) as client:
        print(client.capabilities())
        for tenth in range(1, 11):
            client.prune(weights, rules.l1_unstructured(tenth / 10))
    if options.metrics:
        print("\n".join(x for x in get(options.metrics).splitlines() if x.startswith(SHOWN) and "} 0.0" not in x))
    for query in QUERIES if options.prometheus else ():
        print(f"{query} = {ask(options.prometheus, query)}")
    print("dashboard: http://localhost:3000 of docker compose, or deploy/monitoring/dashboard.json in a Grafana")


if __name__ == "__main__":
    main()
