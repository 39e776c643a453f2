"""The parser of commands: its help has titled groups and examples, its errors can be printed as JSON too."""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NoReturn

from pruning_client.cli.help.formatter import HelpFormatter, help_width

_CHOICE: Final = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)$")
_QUOTED: Final = re.compile(r"'([^']*)'")
_UNKNOWN: Final = re.compile(r"^unrecognized arguments: (?:.* )?(--?[^\s=]+)")
"""What argparse says of words that it does not know; its wording differs between versions in quotes only."""


_NO_NUMBER: Final = re.compile(r"invalid (int|float) value: (.*)$")
_NUMBERS: Final = {"int": "a whole number", "float": "a number"}


class UsageError(Exception):
    """The words are not a command, or its options do not fit each other."""


class Parser(argparse.ArgumentParser):
    """A parser of commands.

    `examples`: the name of the command in the table of examples; "" for the list of commands. `purposes`: of a list,
    the purpose of each command, by which its help lists them.
    """

    def __init__(self, *, examples: str, purposes: Mapping[str, str] = MappingProxyType({}), **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=HelpFormatter, **options)
        self.examples = examples
        self._called = self.prog
        self._purposes = purposes
        self._positionals.title = "arguments"

    def error(self, message: str) -> NoReturn:
        """Raise an error that suggests what may have been meant. Raises: UsageError."""
        described = _NO_NUMBER.sub(lambda found: f"this is {_NUMBERS[found[1]]}; got {found[2]}", message)
        raise UsageError(f"{described}{self._hint(message)} (see: {self._called} --help)")

    def calls(self, command: str) -> None:
        """Have errors of a list of commands refer to the help of the command that is called."""
        self._called = f"{self.prog} {command}"

    def format_help(self) -> str:
        """Return usage, description, options by group, those of every command last, and examples."""
        from pruning_client.cli.help.examples import examples_text  # noqa: PLC0415 - only for help

        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        for title, actions in self.sections():
            formatter.start_section(title)
            formatter.add_arguments(actions)
            formatter.end_section()
        return formatter.format_help() + examples_text(self.examples, help_width())

    def sections(self) -> Iterator[tuple[str, Sequence[argparse.Action]]]:
        """Return the titles of the help with what is under them; commands are listed by purpose."""
        arguments, others, *titled = self._action_groups
        others.title = "other options" if titled else "options"
        for group in (arguments, *titled, others):
            if self._purposes and group is arguments:
                yield from self._commands_by_purpose()
            elif group._group_actions:
                yield str(group.title), group._group_actions

    def _commands_by_purpose(self) -> Iterator[tuple[str, Sequence[argparse.Action]]]:
        assert self._subparsers is not None  # noqa: S101 - a list of commands
        (commands,) = self._subparsers._group_actions
        listed: list[argparse.Action] = list(commands._get_subactions())  # type: ignore[attr-defined]  # as argparse does
        for purpose in dict.fromkeys(self._purposes.values()):
            yield purpose, [each for each in listed if self._purposes[each.dest] == purpose]

    def _hint(self, message: str) -> str:
        """Return what may have been meant by a word that is not known; nothing if no other is close."""
        from difflib import get_close_matches  # noqa: PLC0415 - only for errors

        if choice := _CHOICE.search(message):
            word, known = choice[1], _QUOTED.findall(choice[2]) or choice[2].split(", ")
        elif unknown := _UNKNOWN.search(message):
            word, known = unknown[1], [*self._all_options()]
        else:
            return ""
        close = get_close_matches(word, known, 1) or [each for each in known if each.startswith(word)]
        return f"; did you mean {close[0]!r}?" if close else ""

    def _all_options(self) -> Iterator[str]:
        """Return the options, and those of the command that was called: the others have none yet."""
        yield from self._option_string_actions
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    yield from parser._option_string_actions
