"""Write the manual page `prune.1` from the options and examples of the commands: `python -m scripts.man_page`.

Source: groff's man(7), in the subset that mandoc renders too.
"""

import argparse
import re
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from typing import Final

from pruning_client.cli.arguments import whole_parser
from pruning_client.cli.help.examples import EXAMPLES
from pruning_client.cli.help.listed_commands import COMMANDS
from pruning_client.cli.help.parser import Parser
from scripts.environments import ROOT

PAGE: Final = ROOT / "client" / "pruning_client" / "cli" / "help" / "prune.1"

_DATE: Final = "December 1, 2026"
"""Of the latest release, as groff writes dates."""

_COLUMNS: Final = 78
"""Of the source, which mandoc asks for."""

_STATUSES: Final = {
    "0": "done",
    "1": "a failure; or, of diff --exit-code, a tensor that differs",
    "2": "the request, a path or a file is invalid",
    "130": "interrupted",
    "143": "terminated",
}
_VARIABLES: Final = {
    "PRUNING_SERVER": "the servers of commands without --server, with spaces between several",
    "PRUNING_EXECUTOR": "where a folder is pruned without a server: local, or ray",
    "PRUNING_RAY_ADDRESS": "the Ray cluster, HOST:PORT or ray://HOST:PORT",
    "COLUMNS": "the width of help, and of tables on a terminal",
}


def page() -> str:
    """Return the page."""
    top = whole_parser()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    lines = [
        r".\" Written by python -m scripts.man_page.",
        f'.TH PRUNE 1 "{_DATE}" "pruning\\-service {version}" "User Commands"',
        *(".nh", ".ad l"),  # names of options and files stay whole
        *(".SH NAME", f"prune \\- {_escaped('prune neural networks, in this process or by a server')}"),
        *(".SH SYNOPSIS", ".B prune", ".I COMMAND", "[options]", ".br", ".B prune", ".I COMMAND", ".B \\-\\-help"),
        *(".SH DESCRIPTION", _escaped(top.description or "")),
        "Commands that need no server do their work in this process.",
        ".SH COMMANDS",
    ]
    for parser in _parsers(top):
        lines += _command(parser)
    lines += [".SH EXIT STATUS", *_terms(_STATUSES)]
    lines += [".SH ENVIRONMENT", *_terms(_VARIABLES)]
    return "\n".join(lines) + "\n"


def _parsers(parser: argparse.ArgumentParser) -> Iterator[Parser]:
    """Return the parsers of the commands; of one that has verbs, those of the verbs."""
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not found and isinstance(parser, Parser):
        yield parser
    for action in found:
        for each in action.choices.values():
            yield from _parsers(each)


def _command(parser: Parser) -> Iterator[str]:
    yield f".SS {_escaped(parser.prog)}"
    yield _escaped(parser.description or COMMANDS[parser.examples].description)
    if parser.examples:
        usage = parser.format_usage().removeprefix("usage:").split()
        yield from (".PP", _escaped(f"Usage: {' '.join(usage)}"))
    for title, actions in parser.sections():
        shown = [action for action in actions if action.dest != "help"]
        if shown:
            yield from (".PP", f"{_escaped(title[0].upper() + title[1:])}:")
            for action in shown:
                yield from (".TP", _name(action), _escaped(_help(parser, action)))
    if parser.examples in EXAMPLES:
        yield from (".PP", "Examples:")
        for example in EXAMPLES[parser.examples]:
            yield from (".TP", _escaped(f"{example.does}:"), rf"\fB{_escaped(example.line)}\fR")


def _name(action: argparse.Action) -> str:
    """Return an option in bold with its value in italics, or the name of an argument in italics."""
    if not action.option_strings:
        return rf"\fI{_escaped(str(action.metavar or action.dest))}\fR"
    options = ", ".join(rf"\fB{_escaped(option)}\fR" for option in action.option_strings)
    if action.nargs == 0:
        return options
    return rf"{options} \fI{_escaped(str(action.metavar or action.dest.upper()))}\fR"


def _help(parser: Parser, action: argparse.Action) -> str:
    """Return the text of an option; that of an argument without one is its name."""
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    return text or f"the {action.dest}"


def _terms(terms: dict[str, str]) -> Sequence[str]:
    return [line for term, text in terms.items() for line in (".TP", rf"\fB{_escaped(term)}\fR", _escaped(text))]


def _escaped(text: str) -> str:
    """Return text as roff takes it: no character of it is an instruction."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("~", r"\(ti").replace("^", r"\(ha")
    text = text.replace("'", r"\(aq").replace("`", r"\(ga").replace('"', r"\(dq")
    lines = textwrap.wrap(text, _COLUMNS, break_long_words=False, break_on_hyphens=False)
    return "\n".join(re.sub(r"^\.", r"\\&.", line) for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
