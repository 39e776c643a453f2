"""What no file of the project says: where somebody's machine keeps things, or where packages come from."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.repository.modules import ROOT

THIS = Path(__file__).resolve()
NOT_OURS_TO_SAY = {
    "a path of one machine": re.compile(r"(?<![\w.~-])/(?:work|root|home|Users|opt)/"),
    "a host of packages": re.compile(
        r"pypi\.org|pythonhosted\.org|npmjs\.|download\.pytorch\.org|--index-url|find-links"
    ),
}


def project_files() -> list[Path]:
    """Return the files that are or would be committed, this one left out: it has to name what it looks for."""
    listing = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"git knows no files here: {done.stderr.strip()}")
    files = [ROOT / name for name in done.stdout.splitlines()]
    return [file for file in files if file.is_file() and file != THIS]


def saying(pattern: re.Pattern[str], files: list[Path]) -> list[Path]:
    return [file for file in files if pattern.search(file.read_text(encoding="utf-8", errors="replace"))]


@pytest.mark.parametrize("pattern", NOT_OURS_TO_SAY.values(), ids=NOT_OURS_TO_SAY)
def test_no_file_says(pattern: re.Pattern[str]) -> None:
    assert saying(pattern, project_files()) == []


@pytest.mark.parametrize("text", ["cd /work/main", "'/root/x'", "see https://pypi.org/project/x", "pip --index-url x"])
def test_it_would_be_found(text: str, tmp_path: Path) -> None:
    file = tmp_path / "file.md"
    file.write_text(text)
    assert any(saying(pattern, [file]) for pattern in NOT_OURS_TO_SAY.values())
