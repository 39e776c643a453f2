"""Metrics of jobs, with their units; no label has values that a caller can choose freely.

Workers say what they did since they said so last; their server adds it up.
"""

from collections.abc import Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

STATES: Final = ("waiting", "running")
OUTCOMES: Final = ("SUCCEEDED", "FAILED", "CANCELLED")
STEPS: Final = (
    "starting",
    "fetching",
    "planning",
    "reading",
    "sampling",
    "looking",
    "settling",
    "writing",
    "finishing",
)
SCHEMES: Final = ("s3", "gs", "az", "file")
DIRECTIONS: Final = {"read_bytes": "read", "written_bytes": "written"}


class JobMetrics:
    """What is counted of jobs, in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.jobs = Gauge(
            "pruning_jobs",
            "Jobs of all places that are not done, as this server saw them last: those that wait, and those that some "
            "server carries out.",
            ("state",),
            registry=registry,
        )
        self.running = Gauge("pruning_jobs_running", "Jobs that this server carries out.", registry=registry)
        self._ended = Counter("pruning_jobs_ended", "Jobs that ended here, by state.", ("state",), registry=registry)
        self._attempts = Counter("pruning_job_attempts", "Attempts of jobs begun here.", registry=registry)
        self._takeovers = Counter(
            "pruning_job_takeovers", "Attempts begun here of jobs that had been begun before.", registry=registry
        )
        self._crashes = Counter(
            "pruning_job_crashes", "Processes of jobs that ended here without saying why.", registry=registry
        )
        self._scan_failures = Counter(
            "pruning_job_scan_failures", "Times that this server could not look for jobs.", registry=registry
        )
        self._seconds = Counter(
            "pruning_job_step_seconds", "Seconds that jobs here spent in each step.", ("step",), registry=registry
        )
        self._bytes = Counter(
            "pruning_job_bytes",
            "Bytes that jobs here read from stores, and wrote there, by scheme.",
            ("scheme", "direction"),
            registry=registry,
        )
        self._retries = Counter(
            "pruning_job_store_retries",
            "Requests of jobs here to stores that were sent once more, by scheme.",
            ("scheme",),
            registry=registry,
        )
        self._create_known_series()

    def scanned(self, waiting: int, running: int) -> None:
        """Note how many jobs wait, and how many some server carries out."""
        for state, count in zip(STATES, (waiting, running), strict=True):
            self.jobs.labels(state).set(count)

    def scan_failed(self) -> None:
        """Note that a store could not be looked at."""
        self._scan_failures.inc()

    def begun(self, *, is_takeover: bool) -> None:
        """Note the begin of an attempt."""
        self._attempts.inc()
        self._takeovers.inc(is_takeover)

    def crashed(self) -> None:
        """Note a worker that ended without saying why."""
        self._crashes.inc()

    def ended(self, outcome: str) -> None:
        """Note the end of a job that this server carried out."""
        if outcome in OUTCOMES:
            self._ended.labels(outcome).inc()

    def said(self, fields: Mapping[str, Any]) -> None:
        """Note what a worker did since it said so last."""
        for key, value in fields.items():
            kind, _, label = key.partition(" ")
            if not isinstance(value, int | float) or value < 0:
                continue
            if kind == "step" and label in STEPS:
                self._seconds.labels(label).inc(value)
            elif label in SCHEMES and kind in DIRECTIONS:
                self._bytes.labels(label, DIRECTIONS[kind]).inc(value)
            elif label in SCHEMES and kind == "retries":
                self._retries.labels(label).inc(value)

    def _create_known_series(self) -> None:
        for state in STATES:
            self.jobs.labels(state)
        for outcome in OUTCOMES:
            self._ended.labels(outcome)
        for step in STEPS:
            self._seconds.labels(step)
        for scheme in SCHEMES:
            self._retries.labels(scheme)
            for direction in DIRECTIONS.values():
                self._bytes.labels(scheme, direction)
