"""Capture the output of the tutorial's steps, and write their code and output into the document.

An HTML comment on the line before a fenced block names its content: after `<!-- code: train -->` follows the source of
a function or class of the tutorial, after `<!-- output: hold_zeros -->` what that step printed. The tutorial writes
both, so the document cannot differ from the code.
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
    """Captures what each step prints, by the step's name, and prints it as well."""

    def __init__(self) -> None:
        self.outputs: dict[str, str] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Capture what is printed inside as the output of `name`."""
        kept = io.StringIO()
        print(f"\n--- {name}")
        with redirect_stdout(_Both(sys.stdout, kept)):
            yield
        self.outputs[name] = kept.getvalue()


class _Both(io.TextIOBase):
    """A stream that writes to two others."""

    def __init__(self, *targets: TextIO) -> None:
        self._targets = targets

    def write(self, text: str) -> int:
        for target in self._targets:
            target.write(text)
            target.flush()
        return len(text)


def blocks(document: str) -> list[tuple[str, str]]:
    """Return the marked blocks in order: "code" or "output", and the name."""
    return [(block["kind"], block["name"]) for block in _BLOCK.finditer(document)]


def with_code(document: str, quoted: Mapping[str, object]) -> str:
    """Return the document with the current source of each named function or class."""
    return _with(document, "code", lambda name: _FOR_TOOLS.sub("", inspect.getsource(_as_any(quoted[name]))))


def with_outputs(document: str, outputs: Mapping[str, str]) -> str:
    """Return the document with the output of each step."""
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
