"""The options of `prune serve`, generated from the settings, and what is said about them by `--help`."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic.fields import FieldInfo

from pruning_service.setting_fields import default_of, words_of
from pruning_service.settings import Settings, option_of

EXAMPLES: Final = (
    "prune serve --listen 127.0.0.1:50051",
    "prune serve --listen 127.0.0.1:50051 --stores s3://models --max-jobs 2",
)
"""What `--help` shows; tests run them."""

_OTHER_SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {"tls_certificate": ("--tls-cert",)}


def parse(arguments: Sequence[str] | None = None) -> tuple[dict[str, str], bool]:
    """Return the settings given as options, by field name, and whether to stop when standard input closes."""
    parsed = vars(server_parser().parse_args(arguments))
    until_stdin_closes = parsed.pop("until_stdin_closes")
    return {name: text for name, text in parsed.items() if text is not None}, until_stdin_closes


def server_parser() -> argparse.ArgumentParser:
    """Return the parser of all options."""
    parser = argparse.ArgumentParser(
        prog="prune serve",
        usage="prune serve [OPTION ...]",
        description="Serve pruning.v1.PruningService. Each setting is also an environment variable: --idle-seconds is "
        "PRUNING_IDLE_SECONDS. An option overrides its variable. SIGTERM stops the server; running calls may finish.",
        epilog="\n  ".join(["examples:", *EXAMPLES]),
        formatter_class=_Layout,
    )
    for name, field in Settings.model_fields.items():
        _add(parser, name, field)
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="stop when standard input closes, as a child process does"
    )
    return parser


class _Layout(argparse.HelpFormatter):
    """The usual layout; the lines of the examples stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


def options_of(name: str) -> tuple[str, ...]:
    """Return the options that set a field, all spellings."""
    option = option_of(name)
    if Settings.model_fields[name].annotation is bool:
        return option, f"--no-{option.removeprefix('--')}"
    return option, *_OTHER_SPELLINGS.get(name, ())


def _add(parser: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    options, described = options_of(name), _help(field)
    if field.annotation is bool:
        on, off = options
        parser.add_argument(on, dest=name, action="store_const", const="true", help=described)
        parser.add_argument(off, dest=name, action="store_const", const="false", help=f"the opposite of {on}")
        return
    unit = words_of(field).unit or name.rpartition("_")[2]
    parser.add_argument(*options, dest=name, metavar=unit.upper().replace(" ", "_"), help=described)


def _help(field: FieldInfo) -> str:
    text = f"{field.description} [{words_of(field).range}; default: {default_of(field)}]"
    return text.replace("%", "%%").replace("`", "")
