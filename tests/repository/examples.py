"""Examples in the documents that are tried as tests.

A comment on the line before a fenced block, which a reader does not see, says what to do with it: after `<!-- run -->`
a block of `python` or `bash` is run; after `<!-- save: recipe.yaml -->`, any block is saved under that name. The
marked blocks of a document are taken in order, each run in a process of its own, in one folder that holds a small
`model.safetensors`. Where they say `localhost:50051`, a server listens.
"""

import re
from dataclasses import dataclass
from typing import Final

_MARK: Final = re.compile(r"^<!-- (?:run|save: .*) -->$", re.M)
_MARKED: Final = re.compile(
    r"^<!-- (?:run|save: (?P<file>[\w.-]+)) -->\n```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True, slots=True)
class Example:
    """One marked block; `file` is the name to save it under, None if it is to be run."""

    language: str
    code: str
    file: str | None = None


def examples_in(document: str) -> list[Example]:
    """Return the marked blocks of a Markdown document. Raises: ValueError for a mark before anything else."""
    found = [Example(block["language"], block["code"], block["file"]) for block in _MARKED.finditer(document)]
    if len(_MARK.findall(document)) != len(found):
        raise ValueError("marks precede a fenced block with a language by one line, and some do not")
    return found
