"""The manual page: as up to date as the options are, and without a complaint of what renders it."""

import re
import shutil
import subprocess

import pytest

from scripts.man_page import PAGE, page


def test_page_is_up_to_date() -> None:
    # If it is not: python -m scripts.man_page
    assert PAGE.read_text(encoding="utf-8") == page()


def test_page_has_every_command_and_status() -> None:
    text = page()
    assert all(f".SS prune {name}\n" in text for name in ("run", "jobs wait", "serve", "completion"))
    assert all(f"\n.SH {name}\n" in text for name in ("EXIT STATUS", "ENVIRONMENT"))


@pytest.mark.integration
def test_mandoc_has_nothing_to_say() -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed; .ci/packages installs it")
    done = subprocess.run(["mandoc", "-Tlint", PAGE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.integration
def test_page_renders_as_text() -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed; .ci/packages installs it")
    done = subprocess.run(["mandoc", "-Tutf8", "-Owidth=200", PAGE], capture_output=True, text=True, check=True)
    shown = re.sub(".\b", "", done.stdout)  # bold is a letter printed twice, italics one that is underlined
    assert "prune pack pruned.safetensors -o packed.safetensors --canonical-zero --zstd" in shown
    assert "\\" not in shown
