"""The labels of our docstrings (Raises:, Shape:, ...) as Markdown."""

import re
from textwrap import dedent
from typing import Final

_LABEL: Final = re.compile(r"^(?P<label>Raises|Shape|Units|Cost|Source|Returns|Examples?):(?=\s)", re.M)
_WITHIN: Final = re.compile(r"(?<=[.!?:)]) (?=(?:Raises|Shape|Units|Cost|Source): )")
_SESSION: Final = re.compile(r"^ *>>> .*(?:\n *\S.*)*", re.M)


def as_markdown(docstring: str) -> str:
    """Return a docstring with each label in bold type at the start of a paragraph, and sessions of Python as code."""
    text = _WITHIN.sub("\n", docstring)
    text = _LABEL.sub(lambda found: f"\n**{found['label']}:**", text)
    return _SESSION.sub(lambda session: f"\n```pycon\n{dedent(session[0])}\n```\n", text)
