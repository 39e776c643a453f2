"""The bill of materials of an image, as CycloneDX 1.6: Python, its packages, the scripts in them, and those of Debian.

`python sbom.py TITLE SITE-PACKAGES DPKG-STATUS` prints it; the Dockerfile runs it for each image, so it needs the
standard library only. The same content gives the same bytes: there is no time and no serial number in it.

Source: CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/, and package URLs, https://github.com/package-url/purl-spec.
"""

import hashlib
import json
import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

Component = dict[str, Any]

ASSETS: Final = Path("pruning_client", "pages", "assets")
"""Where the scripts of others are that pages of reports contain, below the folder of packages."""

SCRIPTS: Final = {"d3.min.js": ("d3", "ISC"), "plot.umd.min.js": ("@observablehq/plot", "ISC")}
"""Their names at npm and their licences, by file; the first line of a file has its version."""

_VERSION: Final = re.compile(r"// \S+ v(\d+\.\d+\.\d+) Copyright ")


def bill(title: str, site_packages: Path, dpkg_status: Path) -> dict[str, Any]:
    """Return the bill of an image as JSON has it. Raises: OSError."""
    python = _component("python", platform.python_version(), f"pkg:generic/python@{platform.python_version()}")
    scripts = _of_scripts(site_packages / ASSETS)
    found = [python, *_of_python(site_packages), *scripts, *_of_debian(dpkg_status.read_text(encoding="utf-8"))]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": title}},
        "components": sorted(found, key=lambda component: str(component["purl"])),
    }


def _of_python(site_packages: Path) -> Iterator[Component]:
    for distribution in distributions(path=[str(site_packages)]):
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()  # PEP 503
        component = _component(name, distribution.version, f"pkg:pypi/{name}@{quote(distribution.version)}")
        yield component | _license(distribution)


def _of_scripts(assets: Path) -> Iterator[Component]:
    """Return the scripts in the client's pages. Raises: ValueError if the first line of one has no version."""
    for file, (name, license_id) in SCRIPTS.items():
        content = (assets / file).read_bytes()
        header = _VERSION.match(content[:200].decode("utf-8", "replace"))
        if header is None:
            raise ValueError(f"{assets / file}: its first line has no version")
        hashes = [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]
        component = _component(name, header[1], f"pkg:npm/{quote(name, safe='/')}@{header[1]}")
        yield component | {"hashes": hashes, "licenses": [{"expression": license_id}]}


def _license(distribution: Distribution) -> Component:
    """Return the licence where it is an SPDX expression; older fields are free text."""
    expressions = distribution.metadata.get_all("License-Expression") or ()
    return {"licenses": [{"expression": expression} for expression in expressions]} if expressions else {}


def _of_debian(status: str) -> Iterator[Component]:
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Architecture|Status): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={fields['Architecture']}"
            yield _component(name, version, purl)


def _component(name: str, version: str, purl: str) -> Component:
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


if __name__ == "__main__":
    print(json.dumps(bill(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])), indent=1))
