#!/usr/bin/env bash
# A Ray instance of one program listens on all addresses of the machine, also when it is given the loopback address.
#
# ray 2.60.0, Python 3.11, Linux.
# `ray.init(address="local", _node_ip_address="127.0.0.1")` starts processes whose ports other machines reach. With
# RAY_AUTH_MODE=disabled, as is set where HOME cannot be written, whoever reaches them can run programs.
#
# Output observed: 5 ports on all addresses, 1 on others
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'ray==2.60.0'
cd "$work"
export RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_MODE=disabled "$work/env/bin/python" - <<'PY' 2>errors
from pathlib import Path


def listening():
    """Return the inodes of sockets that listen, by whether they do on all addresses."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {line[9]: not line[1].partition(":")[0].strip("0") for line in lines if line[3] == "0A"}


before = listening()
import ray

ray.init(address="local", num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1")
found = [everywhere for inode, everywhere in listening().items() if inode not in before]
print(f"{sum(found)} ports on all addresses, {len(found) - sum(found)} on others")
ray.shutdown()
assert sum(found) > 0
PY
