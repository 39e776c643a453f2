"""A page in a real Chromium, as Debian packages it: Playwright drives it, and axe-core judges accessibility."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from scripts import node_packages

HERE: Final = Path(__file__).with_name("js")
MOST_SECONDS: Final = 540
LEAST_NODE: Final = 20
"""What Playwright needs."""


def looked_at(page: Path, folder: Path) -> dict[str, Any]:
    """Return what `js/look.js` found: in each look (light, dark, phone, print), and after using the page.

    Screenshots are in `folder`. Skips the test where Chromium or node is missing.
    """
    return seen_by("look.js", page, folder)


def seen_by(script: str, *words: str | Path) -> dict[str, Any]:
    """Return what a script of `js` printed, called with the path of Chromium and these words.

    Skips the test where Chromium or node is missing.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed (Debian: the package chromium)")
    if not node_packages.is_installable():
        pytest.skip(node_packages.MISSING)
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip("v\n").split(".")[0]) < LEAST_NODE:
        pytest.skip(f"node {version.strip()} is too old: Playwright needs {LEAST_NODE}")
    done = subprocess.run(
        ["node", HERE / script, chromium, *words],
        env=os.environ | {"NODE_PATH": str(node_packages.node_modules(HERE))},
        capture_output=True,
        text=True,
        check=False,
        timeout=MOST_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
