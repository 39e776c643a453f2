"""What the images install, with hashes: `python -m scripts.image_requirements` writes `deploy/requirements-*.txt` anew.

Versions are those of `constraints.txt`, and the newest of what that does not name. Every wheel of a version is
allowed by its hash, wherever it is fetched from. torch's build for the CPU is a version of its own (`2.13.0+cpu`),
which PyTorch keeps apart from the others.
"""

import os
import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from scripts.environments import CONSTRAINTS, ROOT, python_with
from scripts.pip_configuration import configured

UV: Final = "uv==0.13.9"
FOLDER: Final = ROOT / "deploy"
PROJECT: Final = ROOT / "pyproject.toml"

TARGET: Final = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28")
"""What the images run: Debian's glibc of 2023, and torch's oldest wheels."""


def main() -> int:
    """Write the files, one an image and one for the wheel's builder; what was resolved is told on stderr."""
    _compile("client", PROJECT)
    _compile("cpu", PROJECT, "--extra", "service", *_cpu_builds())
    _compile("cuda", PROJECT, "--extra", "service")
    with tempfile.TemporaryDirectory() as folder:
        builder = Path(folder) / "build-system.in"
        builder.write_text("\n".join(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["build-system"]["requires"]))
        _compile("build", builder)
    return 0


def _compile(name: str, *arguments: str | Path) -> None:
    uv = python_with("uv", [UV]).with_name("uv")
    how = ["--generate-hashes", "--only-binary=:all:", "--no-annotate", "--no-config", f"--constraints={CONSTRAINTS}"]
    told = ["--custom-compile-command", "python -m scripts.image_requirements"]
    target = FOLDER / f"requirements-{name}.txt"
    command = [str(uv), "pip", "compile", *map(str, arguments), *how, *TARGET, *told, f"--output-file={target}"]
    wheels = {"UV_FIND_LINKS": _wheels_of_pip()} if name == "cpu" else {}
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, env=os.environ | wheels)


def _cpu_builds() -> list[str]:
    """Have uv look for torch's CPU builds at PyTorch's, unless pip's configuration has wheels, theirs among them."""
    return [] if _wheels_of_pip() else ["--torch-backend=cpu"]


def _wheels_of_pip() -> str:
    """Give the folders and pages of wheels that pip looks at, as uv's variable has them: uv asks pip for nothing."""
    names = {name.replace("-", "_"): value for name, value in configured().items()}
    return ",".join(names.get("find_links", "").split())


if __name__ == "__main__":
    raise SystemExit(main())
