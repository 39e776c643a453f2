"""How far a job is: written by the code that carries it out, read by the thread that reports it."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pruning_proto.v1 import pruning_pb2 as pb


class JobProgress:
    """Counts and the current step; from any thread."""

    def __init__(self, metadata: pb.PruneCheckpointMetadata) -> None:
        """`metadata`: what earlier attempts wrote; its `step_seconds` go on."""
        self._metadata = pb.PruneCheckpointMetadata()
        self._metadata.CopyFrom(metadata)
        self._metadata.read_bytes = self._metadata.written_bytes = 0
        self._before = Counter(dict(metadata.step_seconds))
        self._seconds: Counter[str] = Counter()
        self._step = ""
        self._since = time.monotonic()
        self._lock = threading.Lock()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Be at a step, in a word, while inside; then again at the one before."""
        outer = self._enter(name)
        try:
            yield
        finally:
            self._enter(outer)

    @property
    def current(self) -> str:
        """The current step."""
        return self._step

    def go_on(self, name: str) -> None:
        """Be at another step, until the current one ends."""
        if name != self._step:
            self._enter(name)

    def counted(self, *, read_bytes: int, written_bytes: int) -> None:
        """Set the bytes of this attempt."""
        with self._lock:
            self._metadata.read_bytes = read_bytes
            self._metadata.written_bytes = written_bytes

    def shards(self, done: int, total: int) -> None:
        """Set how many result files are complete, and how many there will be."""
        with self._lock:
            self._metadata.shards_done = done
            self._metadata.shards_total = total

    def planned(self, plan: pb.PlanSummary) -> None:
        """Set what will be done."""
        with self._lock:
            self._metadata.plan.CopyFrom(plan)

    def step_seconds(self) -> Mapping[str, float]:
        """Return the seconds that this attempt spent in each step so far."""
        with self._lock:
            return dict(self._spent())

    def describe(self) -> pb.PruneCheckpointMetadata:
        """Return the metadata as they are now."""
        with self._lock:
            described = pb.PruneCheckpointMetadata()
            described.CopyFrom(self._metadata)
            described.step = self._step or "starting"
            described.step_seconds.clear()
            described.step_seconds.update(self._before + self._spent())
            described.update_time.GetCurrentTime()
            return described

    def _enter(self, name: str) -> str:
        with self._lock:
            self._seconds = self._spent()
            self._since = time.monotonic()
            before, self._step = self._step, name
            return before

    def _spent(self) -> Counter[str]:
        return self._seconds + Counter({self._step: time.monotonic() - self._since} if self._step else {})
