"""The grammar of the command line: its commands, and the options that several of them share.

Only the module of the command that was called is imported: others may need more than it does.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, Final, NoReturn

from pruning_client.cli.answer import Answer
from pruning_client.cli.help.listed_commands import COMMANDS
from pruning_client.cli.help.parser import Parser
from pruning_client.cli.help.parser import UsageError as UsageError  # noqa: PLC0414 - a name of this module

SERVE: Final = "serve"
"""The command whose options are the server's own."""

RESULT: Final = "the result"
PRINTED: Final = "what is printed"
"""Titles of groups of options."""

_MINUS_INFINITY: Final = ("-inf", "-infinity")


def parse(words: Sequence[str]) -> Callable[[], Answer]:
    """Return the command that the words call, with its options.

    Raises: UsageError. SystemExit after --help.
    """
    if words[:1] == [SERVE]:
        return lambda: _module(SERVE).run(words[1:])  # the server parses its own options
    options = _parser(words).parse_args(list(_joined(words)))
    return lambda: _silenced(_module(options.command).run(options), options)


def help_text() -> str:
    """Return the commands and examples, as `prune --help` prints them."""
    return _parser(()).format_help()


def _silenced(answer: Answer, options: argparse.Namespace) -> Answer:
    """Return an answer that prints nothing but its warnings, if the options ask for that."""
    return replace(answer, text="") if getattr(options, "quiet", False) else answer


def _parser(words: Sequence[str]) -> Parser:
    """Return the parser of all commands; of the options, it knows those of the command that the words call."""
    parser = _parser_with(words[:1])
    if words and words[0] in COMMANDS:
        parser.calls(words[0])
    return parser


def whole_parser() -> Parser:
    """Return the parser of all commands, with the options of all but `serve`, whose are the server's."""
    return _parser_with([name for name in COMMANDS if name != SERVE])


def _parser_with(loaded: Sequence[str]) -> Parser:
    top = Parser(
        prog="prune",
        description="Prune neural networks: a safetensors file in, a pruned safetensors file out.",
        examples="",
        purposes={name: command.purpose for name, command in COMMANDS.items()},
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True, prog="prune")
    for name, command in COMMANDS.items():
        parser = subparsers.add_parser(name, help=command.help, description=command.description, examples=name)
        if name in loaded:
            _module(name).add_options(parser)
    return top


def titled(command: argparse.ArgumentParser, title: str) -> argparse._ArgumentGroup:
    """Return the group of options with a title, a new one if there is none."""
    known = (group for group in command._action_groups if group.title == title)
    return next(known, None) or command.add_argument_group(title)


def add_json(command: argparse.ArgumentParser) -> None:
    """Add --json."""
    _add_json(titled(command, PRINTED))


def _add_json(printed: argparse._ActionsContainer) -> None:
    printed.add_argument("--json", action="store_true", help="print one JSON object; errors too, on stderr")


def add_quiet(command: argparse.ArgumentParser) -> None:
    """Add --quiet and --json, of which one may be given."""
    printed = titled(command, PRINTED).add_mutually_exclusive_group()
    printed.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors and warnings")
    _add_json(printed)


def add_top(command: argparse.ArgumentParser) -> None:
    """Add --top."""
    titled(command, PRINTED).add_argument(
        "--top", type=_positive, metavar="N", help="of the tensors, show the N largest only; totals are of all"
    )


def add_canonical_zero(command: argparse.ArgumentParser) -> None:
    """Add --canonical-zero."""
    titled(command, RESULT).add_argument(
        "--canonical-zero",
        action="store_true",
        help="packed files: write -0.0 as +0.0, which takes one bit instead of its full width",
    )


def add_zstd(command: argparse.ArgumentParser) -> None:
    """Add --zstd."""
    titled(command, RESULT).add_argument(
        "--zstd",
        action="store_true",
        help="packed files: compress as well; smaller, in a format of its own; to read it needs the extra zstd",
    )


def number(text: str, expected: str) -> float:
    """Return the number that an option is. Raises: ArgumentTypeError that says what is expected."""
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"this is {expected}; got {text!r}") from error


def part(text: str, expected: str = "a part such as 0.5") -> float:
    """Return the part that an option is, which may be given in percent. Raises: ArgumentTypeError."""
    digits = text.removesuffix("%")
    return number(digits, expected) if digits == text else number(digits, expected) / 100


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"this is a count of 1 or more; got {text!r}")
    return int(text)


def _joined(words: Sequence[str]) -> Iterator[str]:
    """Return `--n -inf` as `--n=-inf`: argparse accepts other numbers that begin with a minus, but not this one."""
    remaining = iter(words)
    for word in remaining:
        following = next(remaining, None) if word == "--n" else None
        if following is None:
            yield word
        elif following.lower() in _MINUS_INFINITY:
            yield f"{word}={following}"
        else:
            yield from (word, following)


def _module(command: str) -> Any:
    return import_module(f"pruning_client.cli.commands.{COMMANDS[command].module}")


class _Version(argparse.Action):
    """Prints the version; looked up only when asked, for that takes time."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version  # noqa: PLC0415

        sys.stdout.write(f"prune {version('pruning-service')}\n")
        parser.exit()
