"""All pages in one folder, and the site made of them, strictly: a warning is a failure."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from scripts.environments import ROOT, pinned, python_with
from scripts.site import contract, pages, python

BUILD: Final = ROOT / "build" / "site"
CONFIGURATION: Final = ROOT / "mkdocs.yml"
PACKAGES: Final = (
    *("mkdocs-material", "mkdocstrings-python", "ruff"),  # ruff formats long signatures; all others are theirs
    *("babel", "backrefs", "certifi", "charset-normalizer", "click", "colorama", "ghp-import", "griffelib", "idna"),
    *("Jinja2", "Markdown", "MarkupSafe", "mergedeep", "mkdocs", "mkdocs-autorefs", "mkdocs-get-deps"),
    *("mkdocs-material-extensions", "mkdocstrings", "packaging", "paginate", "pathspec", "platformdirs", "Pygments"),
    *("pymdown-extensions", "python-dateutil", "PyYAML", "pyyaml_env_tag", "requests", "six", "urllib3", "watchdog"),
)


def build(folder: Path) -> Path:
    """Write the site into an empty folder and return its first page. Cost: the first time, an environment is installed.

    Raises: subprocess.CalledProcessError where a page is not in the navigation, a link or an anchor leads nowhere, or
    a public name cannot be found; which one is on stderr. OSError.
    """
    sources, site = folder / "pages", folder / "html"
    for old in (sources, site):
        shutil.rmtree(old, ignore_errors=True)
    pages.collect(sources)
    python.write_pages(sources / "reference")
    contract.write_page(sources / "reference" / "contract.md")
    generator = python_with("site", [pinned(package) for package in PACKAGES])
    configured = {"SITE_PAGES": str(sources), "SITE_HTML": str(site), "NO_MKDOCS_2_WARNING": "1"}
    command = [str(generator), "-m", "mkdocs", "build", "--strict", "--config-file", str(CONFIGURATION)]
    subprocess.run(command, cwd=ROOT, env=os.environ | configured, check=True)
    return site / "index.html"
