"""Two builds of this project side by side: the working tree, and an earlier commit in a temporary folder.

Each has a virtual environment of its own, which takes the project from its tree and everything else from the packages
of the Python that runs this: both builds use the same versions of the same libraries.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from scripts.environments import ROOT

FOLDERS: Final = (".", "proto", "service", "client")
"""The folders of a tree that hold the import packages."""


@dataclass(frozen=True, slots=True)
class Build:
    """A tree and the Python that imports the project from it."""

    name: str
    tree: Path
    python: Path

    def command(self, *words: str) -> list[str]:
        """Return a command of this build's Python."""
        return [str(self.python), *words]

    def environment(self) -> dict[str, str]:
        """Return the environment of its processes: no setting of a server comes from outside, and there is no GPU."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PRUNING_", "PYTHON"))}
        return kept | {"PRUNING_DEVICE": "cpu"}

    def run(self, *words: str) -> str:
        """Run a command in the tree; return what it prints."""
        done = subprocess.run(
            self.command(*words), cwd=self.tree, env=self.environment(), check=True, capture_output=True, text=True
        )
        return done.stdout


@contextmanager
def two_builds(commit: str) -> Iterator[tuple[Build, Build]]:
    """Enter with the build of a commit and that of the working tree.

    Raises: subprocess.CalledProcessError if git does not know the commit.
    """
    with TemporaryDirectory(prefix="pruning-builds-") as folder, _worktree(commit, Path(folder, "tree")) as tree:
        yield (
            Build(commit, tree, _environment(tree, Path(folder, "before"))),
            Build("this tree", ROOT, _environment(ROOT, Path(folder, "after"))),
        )


@contextmanager
def _worktree(commit: str, tree: Path) -> Iterator[Path]:
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", tree, commit], check=True)
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", tree], check=True)


def _environment(tree: Path, home: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    borrowed = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages,) = home.glob("lib/python*/site-packages")
    paths = [*(str((tree / folder).resolve()) for folder in FOLDERS), *borrowed]
    (packages / "build.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")
    return home / "bin" / "python"
