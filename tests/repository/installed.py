"""The project as others get it: a wheel, and installations of its client alone beside the packages it declares."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.environments import ROOT, python_with

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def build_wheel(folder: Path, **environment: str) -> Path:
    """Build the wheel into `folder`, with the build system that the project names and variables of the environment."""
    python = python_with("build", PROJECT["build-system"]["requires"])
    subprocess.run(
        [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT],
        check=True,
        stdout=sys.stderr,
        env={**os.environ, **environment},
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@dataclass(frozen=True, slots=True)
class Installation:
    """A wheel, unpacked in `site`, beside the packages of `python`. The checkout is not on its path."""

    python: Path
    site: Path

    def run(self, *arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run its Python with `arguments` and without a terminal, in `folder` or where the wheel is unpacked."""
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.site)}
        return subprocess.run(
            [self.python, *arguments],
            env=environment,
            cwd=folder or self.site,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )


def install_client(wheel: Path, versions: Sequence[str], folder: Path) -> Installation:
    """Install a wheel without extras, with `versions` of what it depends on."""
    python = python_with("client", [*PROJECT["project"]["dependencies"], *versions])
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel],
        check=True,
        stdout=sys.stderr,
    )
    return Installation(python, folder)
