"""The code on the page about extending is the code of the files that it names."""

import re

import pytest

from tests.repository.modules import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
EXCERPTS = re.findall(r"^<!-- from: (\S+) -->\n```\w+\n(.*?)^```$", PAGE, re.M | re.S)
ELLIPSIS = re.compile(r"^ +\.\.\.\n", re.M)


def test_every_block_of_code_names_its_file() -> None:
    assert len(EXCERPTS) == len(re.findall(r"^```\w+$", PAGE, re.M))


@pytest.mark.parametrize(("file", "code"), EXCERPTS, ids=[file.rpartition("/")[2] for file, _ in EXCERPTS])
def test_excerpt_is_in_its_file(file: str, code: str) -> None:
    content = (ROOT / file).read_text(encoding="utf-8")
    places = [content.find(part) for part in ELLIPSIS.split(code)]
    assert -1 not in places
    assert places == sorted(places)
