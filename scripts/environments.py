"""Small virtual environments beside `.venv`, made when first asked for and kept under `.cache`.

What cannot live in `.venv` lives here: the generator of the stubs, the builder of the wheel, and installations of the
client beside other versions of protobuf. An environment is named after what is in it, so that it never goes stale;
`make clean` removes them.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CONSTRAINTS: Final = ROOT / "constraints.txt"
ENVIRONMENTS: Final = ROOT / ".cache" / "environments"
NO_INSTALLS: Final = "NO_INSTALLS"
"""The variable under which nothing is installed: `make test` sets it."""


def python_with(name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of an environment that holds `requirements`, and make it first if need be.

    Cost: nothing if it is there; else the time that pip takes.
    Raises: subprocess.CalledProcessError if pip fails; what it said is on stderr. RuntimeError under NO_INSTALLS.
    """
    check_installs_allowed(f"the environment {name!r}")
    home = ENVIRONMENTS / f"{name}-{_digest(requirements)}"
    python = home / "bin" / "python"
    complete = home / "complete"
    with _alone(home):
        if not complete.exists():
            shutil.rmtree(home, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", home], check=True, stdout=sys.stderr)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True, stdout=sys.stderr)
            complete.touch()
    return python


def check_installs_allowed(what: str) -> None:
    """Refuse to use what is installed on demand where that is not wanted, also if it is there. Raises: RuntimeError."""
    if os.environ.get(NO_INSTALLS):
        raise RuntimeError(
            f"{what} is installed on demand, and {NO_INSTALLS} is set; mark the test `integration`, so that "
            "`make test-integrations` runs it"
        )


def pinned(package: str) -> str:
    """Return a package's line of `constraints.txt`, such as "numpy==2.4.6"."""
    return next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith(f"{package}=="))


def _digest(requirements: Sequence[str]) -> str:
    content = "\n".join((sys.version, *sorted(requirements)))
    return hashlib.sha256(content.encode()).hexdigest()[:12]


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Let one process at a time make an environment; the others wait."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
