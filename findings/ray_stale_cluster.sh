#!/usr/bin/env bash
# `ray.init(num_cpus=1)` fails on a machine where a Ray cluster ran once and was killed: it believes in the file that is left.
#
# ray 2.60.0, Python 3.11.
# `ray start --head` writes its address into /tmp/ray/ray_current_cluster, and `ray stop` removes it. After a kill, `ray.init`
# with options of a new cluster refuses them as if the old one were there. `address="local"` starts a new one.
#
# Output observed: killed: ValueError; address="local": started
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'ray==2.60.0'
cd "$work"
export RAY_USAGE_STATS_ENABLED=0
export RAY_TMPDIR="$work/t" RAY_AUTH_TOKEN=$(printf 'a%.0s' {1..64}) RAY_AUTH_MODE=token
setsid "$work/env/bin/ray" start --head --port=0 --num-cpus=1 --include-dashboard=false --block >out 2>errors &
head=$!
for _ in $(seq 120); do [ -s "$RAY_TMPDIR/ray_current_cluster" ] && break; sleep 0.5; done
sleep 5
kill -9 -- "-$head"
sleep 5
cat > program.py <<'PY'
import sys

import ray

try:
    ray.init(**dict([word.split("=") for word in sys.argv[1:]]), num_cpus=1, include_dashboard=False, logging_level="ERROR")
except Exception as error:
    print(type(error).__name__)
else:
    print("started")
    ray.shutdown()
PY
killed=$("$work/env/bin/python" program.py 2>errors)
local=$("$work/env/bin/python" program.py address=local 2>errors)
echo "killed: $killed; address=\"local\": $local"
[[ "$killed" == ValueError && "$local" == started ]]
