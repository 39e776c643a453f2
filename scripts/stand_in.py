"""For machines without a registry: a base image made from Debian's packages, and podman's options inside a container.

It has the name of the Dockerfile's base image, and Debian's Python 3.11 at the paths of Python in
`python:3.11-slim-bookworm`, and nothing else of it. It is for testing the Dockerfile, not for production.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

BASE: Final = "docker.io/library/python:3.11-slim-bookworm"
PACKAGES: Final = "python3.11,python3.11-venv,python3-pip,ca-certificates"

OPTIONS: Final = ("--cgroup-manager", "cgroupfs", "--runtime", "runc")
"""For podman without systemd, which would create the control groups."""

RUN_OPTIONS: Final = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096", "--no-healthcheck")
"""For podman: it may not raise this machine's limits, and has no systemd to run health checks."""

_NOT_SLIM: Final = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists")


def build_options(places_of_packages: Iterable[Path]) -> Sequence[str]:
    """Return podman's options for building: this machine's network, and the paths of its packages."""
    volumes = [f"--volume={place}:{place}:ro" for place in places_of_packages]
    return ("--isolation", "chroot", "--pull=never", "--network", "host", *volumes)


def ensure_base(engine: Callable[..., str]) -> None:
    """Make the base image unless it exists."""
    if engine("images", "--quiet", BASE):
        return
    if shutil.which("mmdebstrap") is None:
        raise SystemExit(f"a stand-in for {BASE} needs mmdebstrap: Debian's package of that name")
    print(f"making a stand-in for {BASE} from Debian's packages", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "base.tar"
        _debian(archive)
        engine("import", archive, BASE)


def _debian(archive: Path) -> None:
    hooks = ['ln -s /usr/bin/python3.11 "$1/usr/local/bin/python"', f'cd "$1" && rm -rf {" ".join(_NOT_SLIM)}']
    options = ["--variant=minbase", f"--include={PACKAGES}", *(f"--customize-hook={hook}" for hook in hooks)]
    subprocess.run(["mmdebstrap", "--quiet", *options, "bookworm", archive], check=True)
