"""The bill of materials names what is installed, in CycloneDX."""

import hashlib
import platform
import shutil
from pathlib import Path

import pytest

from scripts.environments import ROOT
from scripts.sbom import ASSETS, SCRIPTS, Component, bill
from tests.client.tiny_files import written

STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10

Package: apt
Status: deinstall ok config-files
Architecture: amd64
Version: 2.6.1
"""


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Component]:
    for name, more in {"Py_YAML": "", "pruning.service": "License-Expression: Apache-2.0\n"}.items():
        (tmp_path / f"{name}-1.0.dist-info").mkdir()
        (tmp_path / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1.0+cpu\n{more}")
    shutil.copytree(ROOT / "client" / ASSETS, tmp_path / ASSETS)
    document = bill("image", tmp_path, written(tmp_path / "status", STATUS))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    return {component["purl"]: component for component in document["components"]}


def test_python_and_its_packages_are_listed(found: dict[str, Component]) -> None:
    assert f"pkg:generic/python@{platform.python_version()}" in found
    assert [purl for purl in found if purl.startswith("pkg:pypi")] == [
        "pkg:pypi/pruning-service@1.0%2Bcpu",
        "pkg:pypi/py-yaml@1.0%2Bcpu",
    ]


def test_installed_packages_of_debian_are_listed(found: dict[str, Component]) -> None:
    debian = [purl for purl in found if purl.startswith("pkg:deb")]
    assert debian == ["pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64"]


def test_licence_is_an_expression_of_spdx(found: dict[str, Component]) -> None:
    (own,) = (component for component in found.values() if component["name"] == "pruning-service")
    assert own["licenses"] == [{"expression": "Apache-2.0"}]


def test_every_component_has_a_version_and_its_own_reference(found: dict[str, Component]) -> None:
    assert all(component["version"] for component in found.values())
    assert len({component["bom-ref"] for component in found.values()}) == len(found)


def test_scripts_of_pages_are_listed_with_their_hashes(found: dict[str, Component]) -> None:
    scripts = {purl: component for purl, component in found.items() if purl.startswith("pkg:npm")}
    assert [purl.rpartition("@")[0] for purl in scripts] == ["pkg:npm/%40observablehq/plot", "pkg:npm/d3"]
    for component, file in zip(scripts.values(), ("plot.umd.min.js", "d3.min.js"), strict=True):
        content = (ROOT / "client" / ASSETS / file).read_bytes()
        assert component["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]
        assert component["licenses"] == [{"expression": "ISC"}]
        assert f" v{component['version']} Copyright " in content.decode().partition("\n")[0]


def test_every_script_of_others_is_listed() -> None:
    scripts = (ROOT / "client" / ASSETS).glob("*.js")
    of_others = {path.name for path in scripts if b"Copyright" in path.read_bytes()[:200]}
    assert of_others == set(SCRIPTS)


def test_script_without_a_version_is_not_passed_over(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "client" / ASSETS, tmp_path / ASSETS)
    (tmp_path / ASSETS / "d3.min.js").write_text("!function(){}()")
    with pytest.raises(ValueError, match="its first line has no version"):
        bill("image", tmp_path, written(tmp_path / "status", STATUS))
