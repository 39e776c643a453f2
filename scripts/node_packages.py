"""Packages of npm for tests, as their lock files name them, kept under `.cache`; `make clean` removes them."""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

from scripts.environments import ROOT, check_installs_allowed

MISSING: Final = "there is no node and npm here; Debian's packages nodejs and npm have them"
_FILES: Final = ("package.json", "package-lock.json")


def is_installable() -> bool:
    """Whether node and npm are here."""
    return bool(shutil.which("node") and shutil.which("npm"))


def node_modules(folder: Path) -> Path:
    """Return the folder of the packages that the lock file in `folder` names, and install them first if need be.

    Raises: subprocess.CalledProcessError if npm fails. RuntimeError under NO_INSTALLS.
    """
    check_installs_allowed(f"what {folder.name}/package-lock.json names")
    assert is_installable(), MISSING  # noqa: S101 - the caller's to ask
    lock_file = (folder / "package-lock.json").read_bytes()
    home = ROOT / ".cache" / "node" / hashlib.sha256(lock_file).hexdigest()[:12]
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            for name in _FILES:
                shutil.copy(folder / name, home)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            subprocess.run(command, cwd=home, check=True, capture_output=True)
            (home / "complete").touch()
    return home / "node_modules"
