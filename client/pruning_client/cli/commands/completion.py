"""`prune completion`: print the script by which a shell completes commands and options; needs no server."""

import argparse
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import SERVE, whole_parser
from pruning_client.cli.places import location
from pruning_client.local.client import server_parser

SHELLS: Final = ("bash", "zsh", "fish")

_PATHS: Final = (Path, location)
"""The types of options that are paths."""

_CLAUSE: Final = re.compile(r"; |: | [(\[]")
"""Where the text of an option gets longer than a list of completions has room for."""


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")


def run(options: Namespace) -> Answer:
    """Print the script of a shell, of all commands that are installed."""
    import shtab  # noqa: PLC0415 - of this command alone

    parser = whole_parser()
    for action in _actions(parser):
        _shorten(action)
        if action.type in _PATHS:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # what shtab looks for
    sys.stdout.write(shtab.complete(parser, options.shell) + "\n")
    return Answer({}, "")


def _actions(parser: ArgumentParser) -> Iterator[argparse.Action]:
    """Return the options and arguments of a parser and its commands, those of the server included if it is there."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            if SERVE in action.choices and (server := server_parser()) is not None:
                action.choices[SERVE] = server
            for each in action.choices.values():
                yield from _actions(each)


def _shorten(action: argparse.Action) -> None:
    """Leave the first clause of a text; the name where it is a list of the choices, which are completed."""
    if action.choices is not None and action.option_strings:
        action.help = action.dest.replace("_", " ")
    elif action.help is not None:
        action.help = _CLAUSE.split(action.help, maxsplit=1)[0]
