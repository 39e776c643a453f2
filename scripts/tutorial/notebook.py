"""What the tutorial's steps print, and the document that quotes their code and what they printed.

A comment on the line before a fenced block, which a reader does not see, says what the block is: after
`<!-- code: train -->` the source of a function or class of the tutorial, after `<!-- output: hold_zeros -->` what that
step printed. Both are written by the tutorial, so that the document cannot say what the code does not.
"""

import inspect
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any, Final, TextIO

_BLOCK: Final = re.compile(
    r"^<!-- (?P<kind>code|output): (?P<name>\w+) -->\n```(?P<language>\w+)\n.*?^```$", re.M | re.S
)

_FOR_TOOLS: Final = re.compile(r"  # (?:type: ignore|noqa).*")


class Notebook:
    """Prints what steps print, and keeps it by the step's name."""

    def __init__(self) -> None:
        self.outputs: dict[str, str] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Keep what is printed inside as the output of `name`."""
        kept = io.StringIO()
        print(f"\n--- {name}")
        with redirect_stdout(_Both(sys.stdout, kept)):
            yield
        self.outputs[name] = kept.getvalue()


class _Both(io.TextIOBase):
    """Writes to two at once."""

    def __init__(self, *targets: TextIO) -> None:
        self._targets = targets

    def write(self, text: str) -> int:
        for target in self._targets:
            target.write(text)
            target.flush()
        return len(text)


def blocks(document: str) -> list[tuple[str, str]]:
    """Give the blocks that are quoted, in order: "code" or "output", and the name."""
    return [(block["kind"], block["name"]) for block in _BLOCK.finditer(document)]


def with_code(document: str, quoted: Mapping[str, object]) -> str:
    """Give the document with the source, as it is now, of each function or class by its name."""
    return _with(document, "code", lambda name: _FOR_TOOLS.sub("", inspect.getsource(_as_any(quoted[name]))))


def with_outputs(document: str, outputs: Mapping[str, str]) -> str:
    """Give the document with what the steps printed."""
    return _with(document, "output", lambda name: outputs[name])


def _with(document: str, kind: str, content: Callable[[str], str]) -> str:
    def written(block: re.Match[str]) -> str:
        if block["kind"] != kind:
            return block[0]
        name, language = block["name"], block["language"]
        return f"<!-- {kind}: {name} -->\n```{language}\n{content(name).rstrip()}\n```"

    return _BLOCK.sub(written, document)


def _as_any(value: object) -> Any:
    return value
