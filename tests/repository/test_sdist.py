"""What a source distribution holds, that a wheel can be built from it, and what PyPI will say of both."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from scripts.environments import ROOT, python_with
from tests.repository.installed import PROJECT
from tests.repository.modules import FOLDERS

TWINE = ("twine==7.0.0",)
BUILD = ("build==1.3.0",)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]  # the first time, environments are made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    python = python_with("sdist", [*BUILD, *PROJECT["build-system"]["requires"]])
    subprocess.run(
        [python, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, ROOT], check=True, stdout=sys.stderr
    )
    (file,) = folder.glob("*.tar.gz")
    return file


@pytest.fixture(scope="module")
def files(sdist: Path) -> set[str]:
    """The paths in it, below its one folder."""
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_it_holds_the_packages_and_what_builds_them(files: set[str]) -> None:
    needed = {"pyproject.toml", "hatch_build.py", "README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO"}
    assert needed <= files
    assert {str(Path(folder, package, "__init__.py")) for package, folder in FOLDERS.items()} <= files
    assert {"pruning_engine/kernels/compiled/kernels.c", "proto/pruning_proto/v1/pruning.proto"} <= files


def test_it_holds_nothing_else(files: set[str]) -> None:
    tops = {"proto", "service", "client", "pruning_engine"}
    others = {file for file in files if file.partition("/")[0] not in tops}
    assert others == {
        *("pyproject.toml", "hatch_build.py", "README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO", ".gitignore")
    }
    assert not [file for file in files if file.endswith((".so", ".pyc")) or "__pycache__" in file]


def test_wheel_is_built_from_it(sdist: Path, tmp_path: Path, wheel: Path) -> None:
    python = python_with("build", PROJECT["build-system"]["requires"])
    subprocess.run(
        [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, sdist],
        check=True,
        stdout=sys.stderr,
    )
    (built,) = tmp_path.glob("*.whl")
    assert built.name == wheel.name


def test_pypi_can_show_both(sdist: Path, wheel: Path) -> None:
    checked = subprocess.run(
        [python_with("twine", TWINE), "-m", "twine", "check", "--strict", sdist, wheel],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("PASSED") == 2
