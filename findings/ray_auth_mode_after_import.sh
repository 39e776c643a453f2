#!/usr/bin/env bash
# RAY_AUTH_MODE is read when Ray is imported, and by its processes when they start: set in between, Ray does not start.
#
# ray 2.60.0, Python 3.11.
# A program that sets RAY_AUTH_MODE=token and RAY_AUTH_TOKEN after `import ray` starts processes that ask for a token which it
# does not send. `ray.init` tries for 20 s and fails with "Failed to start GCS". With RAY_AUTH_TOKEN alone it starts.
#
# Output observed: before the import: started; after it: RuntimeError; after it, the token alone: started
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'ray==2.60.0'
cd "$work"
export RAY_USAGE_STATS_ENABLED=0
cat > program.py <<'PY'
import os
import sys

when, names = sys.argv[1], sys.argv[2:]
values = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}
if when == "before":
    os.environ.update({name: values[name] for name in names})
import ray

if when == "after":
    os.environ.update({name: values[name] for name in names})
try:
    ray.init(address="local", num_cpus=1, include_dashboard=False, logging_level="ERROR")
except Exception as error:
    print(type(error).__name__)
else:
    print("started")
    ray.shutdown()
PY
before=$("$work/env/bin/python" program.py before RAY_AUTH_MODE RAY_AUTH_TOKEN 2>errors)
after=$("$work/env/bin/python" program.py after RAY_AUTH_MODE RAY_AUTH_TOKEN 2>errors)
token=$("$work/env/bin/python" program.py after RAY_AUTH_TOKEN 2>errors)
echo "before the import: $before; after it: $after; after it, the token alone: $token"
[[ "$before" == started && "$after" != started && "$token" == started ]]
