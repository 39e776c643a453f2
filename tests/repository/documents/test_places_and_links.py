"""Every document has its place in the site, and links lead to files that are there; `make docs` looks at anchors."""

import re
from pathlib import Path, PurePosixPath

import pytest

from scripts.site.pages import LINK, documents, page_of, parts
from tests.repository.modules import ROOT

DOCUMENTS = [source for source in [*documents(), PurePosixPath("README.md")] if source.suffix == ".md"]
NAVIGATION = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
IN_NAVIGATION = set(re.findall(r"^ +- (?:.*: )?(\S+\.md)$", NAVIGATION, re.M))


def dead_links(text: str, folder: Path) -> list[str]:
    targets = [link["target"] for fenced, part in parts(text) if not fenced for link in LINK.finditer(part)]
    return [target for target in targets if not (folder / target).exists()]


@pytest.mark.parametrize("source", DOCUMENTS, ids=str)
def test_document_is_in_the_navigation_of_the_site(source: PurePosixPath) -> None:
    assert page_of(source) in IN_NAVIGATION, f"name {page_of(source)} in the nav of mkdocs.yml"


@pytest.mark.parametrize("source", DOCUMENTS, ids=str)
def test_links_of_document_lead_to_files(source: PurePosixPath) -> None:
    text = (ROOT / source).read_text(encoding="utf-8")
    assert dead_links(text, (ROOT / source).parent) == []


def test_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").touch()
    text = "[a](there.md#x) [b](nowhere.md) [c](https://e.org)\n```\n[e](fenced.md)\n```\n[f]: lost.md\n"
    assert dead_links(text, tmp_path) == ["nowhere.md", "lost.md"]
