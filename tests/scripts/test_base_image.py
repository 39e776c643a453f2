"""The base image is pinned by its digest, or nothing is built."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.base_image import pin, pinned, read
from scripts.environments import ROOT

DIGEST = f"sha256:{'0a' * 32}"


class Registry:
    """An engine whose registry gives one answer."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def run(self, *arguments: str | Path) -> str:
        return self._answer if arguments[0] == "image" else ""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "base-image"
    path.write_text("# why\nregistry/python:3.11\n")
    return path


def test_digest_is_written_beside_the_tag(file: Path) -> None:
    assert pin(Registry(f"registry/python@{DIGEST}"), file) == f"registry/python:3.11@{DIGEST}"
    assert file.read_text() == f"# why\nregistry/python:3.11@{DIGEST}\n"
    assert pinned(file) == read(file)


def test_digest_is_replaced_by_a_newer_one(file: Path) -> None:
    pin(Registry(f"python@{DIGEST}"), file)
    pin(Registry(f"python@sha256:{'1b' * 32}"), file)
    assert pinned(file).endswith("1b1b")


@pytest.mark.parametrize("answer", ["", "python", "python@sha256:12"])
def test_answer_without_a_digest_is_refused(file: Path, answer: str) -> None:
    with pytest.raises(ValueError, match="no digest"):
        pin(Registry(answer), file)


@pytest.mark.parametrize("text", ["python:latest", "python", "", "a:1\nb:1", "python:3.11@sha256:12"])
def test_base_without_a_fixed_tag_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match="with another tag than latest"):
        read(file)


def test_base_without_a_digest_is_not_built_on(file: Path) -> None:
    with pytest.raises(ValueError, match="make pin"):
        pinned(file)


def test_make_image_refuses_an_unpinned_base(tmp_path: Path) -> None:
    if "@" in read():
        pytest.skip("the base is pinned here")
    engine = tmp_path / "docker"
    engine.write_text("#!/bin/sh\necho built\n")
    engine.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "STAND_IN": "", "ENGINE": "docker"}
    command = [sys.executable, "-m", "scripts.images", "cpu"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "run `make pin`" in done.stderr
