"""How help is laid out: a short usage, and the text of an option beside it or, on a narrow terminal, below it."""

import argparse
from collections.abc import Iterable
from shutil import get_terminal_size
from typing import Any, Final

from pruning_client.cli.help.examples import filled

_WIDEST: Final = 100
"""Columns of a line that is still easy to read."""

_NARROW: Final = 70
"""Fewer columns than this are not divided between options and their texts."""


def help_width() -> int:
    """Return the columns of help."""
    return min(get_terminal_size().columns, _WIDEST) - 2


class HelpFormatter(argparse.HelpFormatter):
    """The layout of `argparse`, but for the usage: it names what must be given, and the options follow below."""

    def __init__(self, prog: str, **options: Any) -> None:
        width = help_width()
        super().__init__(prog, **{"width": width, "max_help_position": 24 if width >= _NARROW else 6} | options)

    def _format_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None,
    ) -> str:
        if usage is not None or prefix == "":  # empty: the beginning of the usage of subcommands
            return super()._format_usage(usage, actions, groups, prefix)
        words = [self._prog, "[options]", *self._needed(actions)]
        return "\n".join(filled(["usage:", *words], self._width, "    ")) + "\n\n"

    def _needed(self, actions: Iterable[argparse.Action]) -> Iterable[str]:
        shown = [action for action in actions if not action.option_strings or action.required or action.dest == "out"]
        for action in sorted(shown, key=lambda action: bool(action.option_strings)):
            if not action.option_strings:
                yield self._format_args(action, self._get_default_metavar_for_positional(action))
                continue
            words = f"{action.option_strings[0]} {self._format_args(action, action.dest.upper())}"
            yield words if action.required else f"[{words}]"
