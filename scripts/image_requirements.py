"""The packages of the images, with hashes: `python -m scripts.image_requirements` writes `deploy/requirements-*.txt`.

Versions are those of `constraints.txt`, and the newest of packages that it does not name. Every wheel of a version is
allowed by its hash, whatever index it comes from.
"""

import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from scripts.environments import CONSTRAINTS, ROOT, python_with

UV: Final = "uv==0.13.9"
FOLDER: Final = ROOT / "deploy"
PROJECT: Final = ROOT / "pyproject.toml"

RAY_NODES: Final = "ray[client,default]"
"""Ray with what its nodes need where KubeRay runs them: health over HTTP, and a server for clients."""

TARGET: Final = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28")
"""The platform of the images: Debian's glibc of 2023, and torch's oldest wheels."""


def main() -> int:
    """Write one file for each image and one for building the wheel; uv reports on stderr."""
    _compile("client", PROJECT)
    _compile("cpu", PROJECT, "--extra", "local", "--extra", "stores")
    _compile("cuda", PROJECT, "--extra", "service")
    with tempfile.TemporaryDirectory() as folder:
        nodes = Path(folder) / "ray.in"
        nodes.write_text(RAY_NODES)
        _compile("ray", PROJECT, "--extra", "local", "--extra", "stores", "--extra", "ray", nodes)
        builder = Path(folder) / "build-system.in"
        builder.write_text("\n".join(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["build-system"]["requires"]))
        _compile("build", builder)
    return 0


def _compile(name: str, *arguments: str | Path) -> None:
    uv = python_with("uv", [UV]).with_name("uv")
    options = [
        "--generate-hashes",
        "--only-binary=:all:",
        "--no-annotate",
        "--no-config",
        f"--constraints={CONSTRAINTS}",
    ]
    header = ["--custom-compile-command", "python -m scripts.image_requirements"]
    target = FOLDER / f"requirements-{name}.txt"
    command = [str(uv), "pip", "compile", *map(str, arguments), *options, *TARGET, *header, f"--output-file={target}"]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    raise SystemExit(main())
