"""Build the images: `python -m scripts.images TARGET ...`, with ENGINE, or the first of docker and podman.

Packages come from pip's configuration. STAND_IN=1 is for machines without access to a registry of images, and for
containers in a container: see `scripts/stand_in.py`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts import base_image, pip_configuration, stand_in
from scripts.environments import ROOT

ENGINES: Final = ("docker", "podman")
TARGETS: Final = ("cpu", "cuda", "ray", "client")
NAME: Final = "pruning-service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The program that builds and runs images, with its options for this machine."""

    program: str
    options: Sequence[str] = ()
    build_options: Sequence[str] = ()
    run_options: Sequence[str] = ()

    def run(self, *arguments: str | Path) -> str:
        """Run one of its commands; return its output. Raises: CalledProcessError if it fails."""
        command = [self.program, *self.options, *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def find_engine() -> Engine | None:
    """Return the engine that ENGINE names, or else the first that is installed; None without any."""
    is_stand_in = bool(os.environ.get("STAND_IN"))
    wanted = os.environ.get("ENGINE") or ("podman" if is_stand_in else None)
    program = next((name for name in ([wanted] if wanted else ENGINES) if shutil.which(name)), None)
    if program is None:
        return None
    # HEALTHCHECK is not part of OCI's format, which podman writes by default.
    of_podman = ("--format", "docker") if program == "podman" else ()
    if not is_stand_in:
        return Engine(program=program, build_options=of_podman)
    return Engine(
        program=program,
        options=stand_in.OPTIONS,
        build_options=(*of_podman, *stand_in.build_options(pip_configuration.places())),
        run_options=stand_in.RUN_OPTIONS,
    )


def tag(target: str) -> str:
    """Return the name of an image, such as "pruning-service:0.2.0-cpu"."""
    return f"{NAME}:{_version()}-{target}"


def build(engine: Engine, target: str) -> str:
    """Build one image from this checkout; return its name. "pruning-service:TARGET" is a second one.

    Raises: ValueError if its base is not pinned. CalledProcessError if it is not built.
    """
    base = stand_in.BASE if os.environ.get("STAND_IN") else base_image.pinned()
    if os.environ.get("STAND_IN"):
        stand_in.ensure_base(engine.run)
    labels = [f"--build-arg=VERSION={_version()}", f"--build-arg=REVISION={_revision()}", f"--build-arg=BASE={base}"]
    with _pip_configuration() as file:
        secret = ["--secret", f"id=pip,src={file}"]
        named = ["--target", target, "--tag", tag(target), "--tag", f"{NAME}:{target}", str(ROOT)]
        command = [engine.program, *engine.options, "build", *engine.build_options, *secret, *labels, *named]
        subprocess.run(command, check=True)
    return tag(target)


@contextmanager
def _pip_configuration() -> Iterator[Path]:
    """Write pip's configuration, from all its sources, into one file that exists during the build."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pip.conf"
        options = (f"{name} = {value}" for name, value in pip_configuration.configured().items())
        file.write_text("\n".join(["[global]", *options]), encoding="utf-8")
        yield file


def _version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def _revision() -> str:
    """Return the commit, marked if files differ from it; "unknown" outside of git."""
    command = ["git", "-c", "safe.directory=*", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    described = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return described.stdout.strip() or "unknown"


def main() -> int:
    """Build the targets; return 2 for an unknown one or without an engine, 1 if a build fails."""
    targets = sys.argv[1:]
    if not targets or not set(targets) <= set(TARGETS):
        return _complain(2, f"say which images: some of {', '.join(TARGETS)}")
    engine = find_engine()
    if engine is None:
        return _complain(2, f"nothing builds images here: no {os.environ.get('ENGINE') or ' and no '.join(ENGINES)}")
    for target in targets:
        try:
            print(f"built {build(engine, target)}")
        except subprocess.CalledProcessError as error:
            return _complain(1, f"{engine.program} did not build {tag(target)}: status {error.returncode}, see above")
        except ValueError as error:
            return _complain(2, str(error))
    return 0


def _complain(status: int, what: str) -> int:
    print(f"images: {what}", file=sys.stderr)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
