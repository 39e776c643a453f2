"""Where each document of the repository is in the site, and links that lead there.

A page links to other files as in the repository, so that it can be read there too. In the site, links to sources and
manifests lead to pages that show them, because a site has no repository beside it.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from scripts.environments import ROOT

DOCS: Final = "docs"
PAGES: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "examples": "examples.md",
    "examples/README.md": "examples.md",
    "deploy/pipelines/README.md": "pipelines.md",
    "deploy/pipelines": "pipelines.md",
    "proto/pruning_proto/v1/pruning.proto": "reference/contract.md",
    "client/pruning_client/__init__.py": "reference/pruning_client.md",
    "client/pruning_client/rules/__init__.py": "reference/pruning_client.rules.md",
    "client/pruning_client/errors/__init__.py": "reference/pruning_client.errors.md",
    "client/pruning_client/torch/__init__.py": "reference/pruning_client.torch.md",
    "pruning_engine/__init__.py": "reference/pruning_engine.md",
    "pruning_engine/recipe/__init__.py": "reference/pruning_engine.recipe.md",
}
"""The pages of documents outside of `docs`; the README's is the home page, which `docs/index.md` is."""

_COPIED: Final = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md", "deploy/pipelines/README.md")
_FENCED: Final = re.compile(r"^( *)(```+|~~~+).*?^\1\2[ ]*$", re.M | re.S)
LINK: Final = re.compile(
    r"(?P<before>\]\(|^\[[^\]]+\]: )(?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?(?P<after>\)|$)", re.M
)
"""A link to a file, within Markdown or as a reference; not one to another site or within the page."""

_LANGUAGES: Final = {".py": "python", ".yaml": "yaml", ".json": "json", ".conf": "nginx", ".proto": "protobuf"}
_HIDDEN: Final = "---\nsearch:\n  exclude: true\n---\n\n"


def collect(folder: Path) -> None:
    """Write the documents into a folder, each where the site has it, and pages that show other files they link to."""
    shown: set[str] = set()
    for source in documents():
        page = PurePosixPath(page_of(source))
        target = folder / page
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix != ".md":
            shutil.copyfile(ROOT / source, target)
            continue
        text = (ROOT / source).read_text(encoding="utf-8")
        shown |= {linked for linked in _linked(text, source) if page_of(linked).startswith("files/")}
        target.write_text(with_links(text, source), encoding="utf-8")
    for path in sorted(shown):
        target = folder / page_of(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_HIDDEN + _showing(path), encoding="utf-8")


def page_of(path: str | PurePosixPath) -> str:
    """Return the site's page for a file or folder of the repository."""
    name = str(path)
    if name in PAGES:
        return PAGES[name]
    if name.startswith(f"{DOCS}/"):
        return name.removeprefix(f"{DOCS}/")
    return f"files/{name}.md"


def with_links(text: str, source: PurePosixPath) -> str:
    """Return a document with links to the site's pages. What leads nowhere is left as it is: the generator names it."""
    here = PurePosixPath(page_of(source)).parent

    def led(link: re.Match[str]) -> str:
        path = _path(link["target"], source)
        if path is None:
            return link[0]
        target = os.path.relpath(page_of(path), here)
        anchor = "" if page_of(path).startswith("files/") or path in {"README.md"} else link["anchor"] or ""
        return f"{link['before']}{target}{anchor}{link['after']}"

    return "".join(part if fenced else LINK.sub(led, part) for fenced, part in parts(text))


def documents() -> Iterator[PurePosixPath]:
    """Return the files that the site is made of, by their paths in the repository."""
    for name in _COPIED:
        yield PurePosixPath(name)
    for file in sorted((ROOT / DOCS).rglob("*")):
        if file.is_file():
            yield PurePosixPath(file.relative_to(ROOT).as_posix())


def _linked(text: str, source: PurePosixPath) -> set[str]:
    links = [link["target"] for fenced, part in parts(text) if not fenced for link in LINK.finditer(part)]
    return {path for target in links if (path := _path(target, source)) is not None}


def _path(target: str, source: PurePosixPath) -> str | None:
    """Return the path in the repository that a link means, None if nothing is there."""
    path = os.path.normpath(source.parent / target)
    return path if not path.startswith("..") and (ROOT / path).exists() else None


def parts(text: str) -> Iterator[tuple[bool, str]]:
    """Return a document in parts, and for each of them whether it is a block of code."""
    end = 0
    for block in _FENCED.finditer(text):
        yield False, text[end : block.start()]
        yield True, block[0]
        end = block.end()
    yield False, text[end:]


def _showing(path: str) -> str:
    """Return a page that shows a file, or all files of a folder."""
    place = ROOT / path
    files = [place] if place.is_file() else sorted(file for file in place.rglob("*") if _is_text(file))
    name = f"`{path}`" if place.is_file() else f"`{path}/`"
    blocks = []
    for file in files:
        title = "" if place.is_file() else f"## `{file.relative_to(place).as_posix()}`\n\n"
        code = file.read_text(encoding="utf-8").rstrip("\n")
        blocks.append(f"{title}``````{_LANGUAGES.get(file.suffix, 'text')}\n{code}\n``````\n")
    return f"# {name}\n\nIn the repository, shown as it is.\n\n" + "\n".join(blocks)


def _is_text(file: Path) -> bool:
    return file.is_file() and "__pycache__" not in file.parts and b"\0" not in file.read_bytes()
