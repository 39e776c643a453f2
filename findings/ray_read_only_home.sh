#!/usr/bin/env bash
# Ray does not start where HOME cannot be written, as in a hardened container: it wants to write a token there.
#
# ray 2.60.0, Python 3.11.
# Token authentication is on by default, and the token of a local cluster is written to ~/.ray/auth_token. `ray.init()` fails with
# a FileNotFoundError or a PermissionError of a path that no option of it names. RAY_AUTH_TOKEN in the environment helps, and
# keeps authentication; RAY_AUTH_MODE=disabled helps too.
#
# Output observed: no variable: FileNotFoundError; RAY_AUTH_TOKEN: started; RAY_AUTH_MODE=disabled: started
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'ray==2.60.0'
cd "$work"
export RAY_USAGE_STATS_ENABLED=0
cat > program.py <<'PY'
import ray

try:
    ray.init(address="local", num_cpus=1, include_dashboard=False, logging_level="ERROR")
except OSError as error:
    print(type(error).__name__)
else:
    print("started")
    ray.shutdown()
PY
export HOME=/proc/1/none
plain=$("$work/env/bin/python" program.py 2>errors)
token=$(RAY_AUTH_TOKEN=$(printf 'a%.0s' {1..64}) "$work/env/bin/python" program.py 2>errors)
disabled=$(RAY_AUTH_MODE=disabled "$work/env/bin/python" program.py 2>errors)
echo "no variable: $plain; RAY_AUTH_TOKEN: $token; RAY_AUTH_MODE=disabled: $disabled"
[[ "$plain" == *Error && "$token" == started && "$disabled" == started ]]
