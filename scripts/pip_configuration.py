"""pip's configuration on this machine, for tools that do not read it: certificates, and where packages are."""

import ast
import subprocess
import sys
from pathlib import Path


def configured() -> dict[str, str]:
    """Return pip's options by name; the environment overrides files."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    pairs = [line.partition("=") for line in listed.splitlines()]
    ordered = sorted(pairs, key=lambda pair: pair[0].startswith(":env:"))
    return {key.rpartition(".")[2]: ast.literal_eval(value) for key, _, value in ordered}


def places() -> list[Path]:
    """Return the local folders and files that it names: certificates, wheels, indexes."""
    return sorted({place for value in configured().values() for word in value.split() for place in _places(word)})


def _places(word: str) -> list[Path]:
    index = word.removeprefix("file://")
    place = Path(index).parent if index != word else Path(word)  # an index's files are next to its pages
    return [place] if place.is_absolute() and place.exists() else []
