"""What the images install: pinned to the hash, what the project declares, in the versions that it is tested with."""

import re
import tomllib
from pathlib import Path

import pytest

from scripts.environments import CONSTRAINTS, ROOT

DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CLIENT = DECLARED["project"]["dependencies"]
EXTRAS = DECLARED["project"]["optional-dependencies"]
LOCAL = [*CLIENT, *EXTRAS["local"], *EXTRAS["stores"]]
OWN = "pruning-service["
SERVICE = [*LOCAL, *(requirement for requirement in EXTRAS["service"] if not requirement.startswith(OWN))]
BUILD = DECLARED["build-system"]["requires"]
RAY = [*LOCAL, "ray", "aiohttp"]  # aiohttp: of ray[default], for the health of nodes
NAMES = ("build", "client", "cpu", "cuda", "ray")
every_file = pytest.mark.parametrize("name", NAMES)


def requirements(name: str) -> Path:
    return ROOT / "deploy" / f"requirements-{name}.txt"


def pins(file: Path) -> dict[str, str]:
    """Return the versions by normalized name, torch's without its local part."""
    found = re.findall(r"^([\w.-]+)==([^\s+]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {normalized(package): version for package, version in found}


def normalized(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


@every_file
def test_every_package_has_its_hashes(name: str) -> None:
    entries = re.split(r"\n(?=\w)", requirements(name).read_text(encoding="utf-8").partition("\n\n")[0])
    packages = [entry for entry in entries if not entry.startswith("#")]
    assert len(packages) == len(pins(requirements(name)))
    assert [entry for entry in packages if "--hash=sha256:" not in entry] == []


@every_file
def test_versions_are_those_that_the_tests_run_with(name: str) -> None:
    tested = pins(CONSTRAINTS)
    installed = pins(requirements(name))
    assert {package: version for package, version in installed.items() if tested.get(package, version) != version} == {}


@pytest.mark.parametrize(
    ("name", "declared"),
    [("build", BUILD), ("client", CLIENT), ("cpu", LOCAL), ("cuda", SERVICE), ("ray", RAY)],
    ids=NAMES,
)
def test_everything_that_is_declared_is_installed(name: str, declared: list[str]) -> None:
    wanted = {normalized(re.split(r"[^\w.-]", requirement)[0]) for requirement in declared}
    assert wanted <= pins(requirements(name)).keys()


def test_client_image_needs_no_torch_and_no_numpy() -> None:
    assert pins(requirements("client")).keys().isdisjoint({"torch", "numpy", "safetensors"})


@pytest.mark.parametrize("name", ["cpu", "ray"])
def test_image_for_processors_needs_no_torch_and_no_cuda(name: str) -> None:
    assert pins(requirements(name)).keys().isdisjoint({"torch", "safetensors"})
    assert not [package for package in pins(requirements(name)) if package.startswith(("nvidia", "cuda", "triton"))]
