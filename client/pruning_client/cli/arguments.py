"""The grammar of the command line: its commands, and the options that several of them share.

Only the module of the command that was called is imported: others may need more than it does.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final, NoReturn

from pruning_client.cli.answer import Answer

_EXAMPLES: Final = """\
examples:
  prune run model.safetensors -o pruned.safetensors --method l1_unstructured --amount 0.5 --global
  prune run model.safetensors -o pruned.safetensors --method ln_structured --n 1 --count 2 --include '*.fc1.weight'
  prune run FOLDER -o SMALLER --output removed --map bert_ffn --amount 0.5
  prune run model.safetensors --recipe recipe.yaml --plan --server gpu-box:50051 --tls
  prune run FOLDER -o PRUNED --method auto --amount 50% --statistics statistics.safetensors
  prune scan FOLDER --method wanda --update refit --statistics statistics.safetensors
  prune apply model.safetensors masks.safetensors -o pruned.safetensors
  prune pack pruned.safetensors -o packed.safetensors
  prune convert pytorch_model.bin -o model.safetensors
  prune inspect pruned.safetensors --sort sparsity --top 10
  prune diff model.safetensors pruned.safetensors
  prune report model.safetensors pruned.safetensors -o report.html
  prune recipe --method l1_unstructured --amount 0.5 --global > recipe.yaml
  prune serve --listen 127.0.0.1:50051
"""


_CHOICE: Final = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)$")
_QUOTED: Final = re.compile(r"'([^']*)'")
_UNKNOWN: Final = re.compile(r"^unrecognized arguments: (?:.* )?(--?[^\s=]+)")
"""What argparse says of words that it does not know; its wording differs between versions in quotes only."""

_MINUS_INFINITY: Final = ("-inf", "-infinity")


class UsageError(Exception):
    """The words are not a command, or its options do not fit each other."""


@dataclass(frozen=True, slots=True)
class _Command:
    """A command of the list; `module` of `cli.commands` has its options and carries it out."""

    module: str
    help: str


_COMMANDS: Final = {
    "run": _Command("run", "prune a file, or the folder of a Hugging Face model"),
    "apply": _Command("apply", "prune a file with masks that `run --output mask` wrote; needs no server"),
    "pack": _Command(
        "pack", "write a smaller file, lossless: what is not zero, and one bit per entry; needs no server"
    ),
    "unpack": _Command("unpack", "write the file that a packed one was made from; needs no server"),
    "convert": _Command(
        "convert", "write a file of torch.save (.bin, .pt, .pth) as safetensors; needs torch, no server"
    ),
    "scan": _Command("scan", "print how much the outputs of each layer would change, over sparsity; prunes nothing"),
    "tokens": _Command("tokens", "print the token ids that a text needs, for `run --keep-tokens`; needs no server"),
    "inspect": _Command("inspect", "print the sparsity of a file, tensor by tensor; needs no server"),
    "diff": _Command("diff", "print what differs between two models, tensor by tensor; needs no server"),
    "report": _Command("report", "write a page about one model, or two, for a browser; needs no server"),
    "recipe": _Command("recipe", "print the recipe of a rule's options as YAML, for `run --recipe`; needs no server"),
    "methods": _Command("methods", "print the methods, outputs and limits of a server"),
    "jobs": _Command("jobs", "list, show, wait for, cancel and delete the jobs of a server"),
    "serve": _Command("serve", "run a server: prune serve --help"),
}


def parse(words: Sequence[str]) -> Callable[[], Answer]:
    """Return the command that the words call, with its options.

    Raises: UsageError. SystemExit after --help.
    """
    if words[:1] == ["serve"]:
        return lambda: _module("serve").run(words[1:])  # the server parses its own options
    options = _parser(words).parse_args(list(_joined(words)))
    return lambda: _silenced(_module(options.command).run(options), options)


def help_text() -> str:
    """Return the commands and examples, as `prune --help` prints them."""
    return _parser(()).format_help()


def _silenced(answer: Answer, options: argparse.Namespace) -> Answer:
    """Return an answer that prints nothing but its warnings, if the options ask for that."""
    return replace(answer, text="") if getattr(options, "quiet", False) else answer


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of all commands; of the options, it knows those of the command that the words call."""
    top = _Parser(
        prog="prune",
        description="Prune neural networks: a safetensors file in, a pruned safetensors file out.",
        epilog=_EXAMPLES,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in _COMMANDS.items():
        description = f"{command.help[0].upper()}{command.help[1:]}."
        parser = subparsers.add_parser(name, help=command.help, description=description, allow_abbrev=False)
        if words[:1] == [name]:
            _module(name).add_options(parser)
    return top


def add_json(command: argparse._ActionsContainer) -> None:
    """Add --json."""
    command.add_argument("--json", action="store_true", help="print one JSON object; errors too, on stderr")


def add_quiet(command: argparse.ArgumentParser) -> None:
    """Add --quiet and --json, of which one may be given."""
    printed = command.add_mutually_exclusive_group()
    printed.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors and warnings")
    add_json(printed)


def add_top(command: argparse.ArgumentParser) -> None:
    """Add --top."""
    command.add_argument(
        "--top", type=_positive, metavar="N", help="of the tensors, show the N largest only; totals are of all"
    )


def add_canonical_zero(command: argparse.ArgumentParser) -> None:
    """Add --canonical-zero."""
    command.add_argument(
        "--canonical-zero",
        action="store_true",
        help="packed files: write -0.0 as +0.0, which takes one bit instead of its full width",
    )


def add_zstd(command: argparse.ArgumentParser) -> None:
    """Add --zstd."""
    command.add_argument(
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
    return import_module(f"pruning_client.cli.commands.{_COMMANDS[command].module}")


class _Parser(argparse.ArgumentParser):
    """A parser that raises its errors, so that they can be printed as JSON too."""

    def error(self, message: str) -> NoReturn:
        hint = self._hint(message)
        raise UsageError(f"{message}{hint} (see: {self.prog} --help)")

    def _hint(self, message: str) -> str:
        """Return what may have been meant by a word that is not known; nothing if no other is close."""
        from difflib import get_close_matches  # noqa: PLC0415 - only for errors

        if choice := _CHOICE.search(message):
            word, known = choice[1], _QUOTED.findall(choice[2]) or choice[2].split(", ")
        elif unknown := _UNKNOWN.search(message):
            word, known = unknown[1], [*self._all_options()]
        else:
            return ""
        close = get_close_matches(word, known, 1)
        return f"; did you mean {close[0]!r}?" if close else ""

    def _all_options(self) -> Iterator[str]:
        """Return the options, and those of the command that was called: the others have none yet."""
        yield from self._option_string_actions
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    yield from parser._option_string_actions


class _Version(argparse.Action):
    """Prints the version; looked up only when asked, for that takes time."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version  # noqa: PLC0415

        sys.stdout.write(f"prune {version('pruning-service')}\n")
        parser.exit()
