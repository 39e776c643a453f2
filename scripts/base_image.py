"""The base of the images, pinned by its digest in `deploy/base-image`; `python -m scripts.base_image` writes it.

A tag may be moved to other content at any time; a digest names the content. Only a registry knows the digest of a tag,
so it is asked once, and the answer is committed.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final, Protocol

from scripts.environments import ROOT

FILE: Final = ROOT / "deploy" / "base-image"

_REFERENCE: Final = re.compile(r"(?P<image>[\w./-]+:(?!latest\b)[\w.-]+)(?P<digest>@sha256:[0-9a-f]{64})?")


class Engine(Protocol):
    """What pulls and inspects images."""

    def run(self, *arguments: str | Path) -> str:
        """Run one of its commands; return its output."""


def read(file: Path = FILE) -> str:
    """Return the reference of the base. Raises: ValueError if it has no tag, or the tag `latest`."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    if len(lines) != 1 or not _REFERENCE.fullmatch(lines[0]):
        raise ValueError(f"{file} has one line NAME:TAG or NAME:TAG@sha256:DIGEST, with another tag than latest")
    return lines[0]


def pinned(file: Path = FILE) -> str:
    """Return the reference of a base that is pinned. Raises: ValueError if it is not."""
    reference = read(file)
    if "@" not in reference:
        raise ValueError(f"{file.name} has no digest: run `make pin`, which asks the registry, and commit the file")
    return reference


def pin(engine: Engine, file: Path = FILE) -> str:
    """Write the digest that the base's tag has now; return the reference.

    Raises: CalledProcessError if the registry cannot be reached. ValueError if it gives no digest.
    """
    previous = read(file)
    image = previous.partition("@")[0]
    engine.run("pull", image)
    digest = engine.run("image", "inspect", "--format", "{{index .RepoDigests 0}}", image).rpartition("@")[2]
    reference = f"{image}@{digest}"
    if "@" not in reference or not _REFERENCE.fullmatch(reference):
        raise ValueError(f"the registry gives no digest of {image}, but {digest!r}")
    file.write_text(file.read_text(encoding="utf-8").replace(previous, reference), encoding="utf-8")
    return reference


def main() -> int:
    """Pin the base; return 1 if that fails, 2 without an engine."""
    from scripts.images import find_engine  # noqa: PLC0415 - which imports this module

    engine = find_engine()
    if engine is None:
        print("base_image: neither docker nor podman is installed", file=sys.stderr)
        return 2
    try:
        print(pin(engine))
    except (subprocess.CalledProcessError, ValueError) as error:
        print(f"base_image: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
