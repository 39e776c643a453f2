"""Folders of one process: gone when it ends, or when the next one starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.private_folder import private_folder
from tests.client.tiny_files import written

OWNER = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from scripts.private_folder import private_folder
with private_folder(["log"]) as folder:
    (folder / "log").touch()
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_folder_is_private_and_gone_after(place: Path) -> None:
    with private_folder(["log"]) as folder:
        assert (folder.parent, folder.stat().st_mode & 0o777) == (place, 0o700)
        written(folder / "log", b"")
    assert list(place.iterdir()) == []


def test_folder_of_a_killed_process_is_removed_by_the_next(place: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, str(place)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        left = Path(owner.stdout.readline().strip())
        with private_folder(["log"]):
            assert left.exists()  # for its owner lives
        owner.kill()
    assert left.exists()
    with private_folder(["log"]) as folder:
        assert list(place.iterdir()) == [folder]


@pytest.mark.parametrize("files", [[], ["log", "thesis"]], ids=["empty: one that is being made", "with other files"])
def test_folder_that_may_be_somebody_elses_stays(place: Path, files: list[str]) -> None:
    (place / "prune-other").mkdir()
    for name in files:
        written(place / "prune-other" / name, b"")
    with private_folder(["log"]):
        pass
    assert sorted(file.name for file in (place / "prune-other").iterdir()) == files
