#!/usr/bin/env bash
# Ray prints about lost workers to the driver's stdout, also with log_to_driver=False: output of a program there gets mixed.
#
# ray 2.60.0, Python 3.11.
# A task whose process is killed is retried, and the program succeeds. Its stdout has lines that begin with "(raylet)" in front of
# its own, so that a JSON document there cannot be parsed. Some of them come from `ray.shutdown()`.
#
# Output observed: 3 lines on stdout, of which 1 is the program's
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'ray==2.60.0'
cd "$work"
export RAY_USAGE_STATS_ENABLED=0
cat > program.py <<'PY'
import os
from pathlib import Path

import ray

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")


@ray.remote(max_retries=1)
def dies_once():
    if not Path("died").exists():
        Path("died").touch()
        os.kill(os.getpid(), 9)
    return 1


print(ray.get(dies_once.remote()))
ray.shutdown()
PY
RAY_AUTH_TOKEN=$(printf 'a%.0s' {1..64}) "$work/env/bin/python" program.py 2>errors >out
count=$(grep -c . out)
echo "$count lines on stdout, of which $(grep -c '^1$' out) is the program's"
grep -q raylet out && [ "$count" -gt 1 ]
