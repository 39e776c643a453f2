#!/usr/bin/env bash
# A Ray task that sleeps or waits is not interrupted by `ray.cancel`: the KeyboardInterrupt comes when its call returns.
#
# ray 2.60.0, Python 3.11.
# A signal would interrupt time.sleep, a read of a socket or a wait for a lock; Ray only marks one as pending. A task that
# sleeps for 12 s and is cancelled after 1 s ends after 12 s; one that computes in Python ends at once. `force=True` kills
# the process of either.
#
# Output observed: sleeping: cancelled after 11.0 s; computing: cancelled after 0.0 s
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'ray==2.60.0'
cd "$work"
export RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(printf 'a%.0s' {1..64}) "$work/env/bin/python" - <<'PY' 2>errors
import time
from pathlib import Path

import ray

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
place = Path.cwd()


@ray.remote
def sleeping():
    (place / "sleeping").touch()
    time.sleep(12)


@ray.remote
def computing():
    (place / "computing").touch()
    end = time.monotonic() + 12
    while time.monotonic() < end:
        pass


def seconds(task):
    reference = task.remote()
    while not (place / task._function.__name__).exists():
        time.sleep(0.05)
    time.sleep(1)
    begin = time.monotonic()
    ray.cancel(reference)
    try:
        ray.get(reference)
    except ray.exceptions.TaskCancelledError:
        return time.monotonic() - begin


found = {task._function.__name__: seconds(task) for task in (sleeping, computing)}
print("; ".join(f"{name}: cancelled after {took:.1f} s" for name, took in found.items()))
ray.shutdown()
assert found["sleeping"] > 8 and found["computing"] < 5
PY
