"""The command line's words: its options, and the rule that they ask for."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Final, NoReturn, get_args

from pruning_client import rules
from pruning_client.calls.exchange import Rules
from pruning_client.errors import RecipeError, in_rule
from pruning_client.results.output_form import Output
from pruning_client.rules import AmountLike
from pruning_client.transport import retry, timeouts
from pruning_proto.methods import METHODS as CATALOGUE
from pruning_proto.v1 import pruning_pb2 as pb

_EXAMPLES: Final = """\
examples:
  prune run model.safetensors -o pruned.safetensors --method l1_unstructured --amount 0.5 --global
  prune run model.safetensors -o pruned.safetensors --method ln_structured --n 1 --amount 2 --include '*.fc1.weight'
  prune run FOLDER -o SMALLER --output removed --map bert_ffn --amount 0.5
  prune run model.safetensors --recipe recipe.yaml --plan --server gpu-box:50051
  prune apply model.safetensors masks.safetensors -o pruned.safetensors
  prune pack pruned.safetensors -o packed.safetensors
  prune inspect pruned.safetensors
  prune serve --listen 127.0.0.1:50051
"""


class UsageError(Exception):
    """Words that are no command, or options that do not fit each other."""


@dataclass(frozen=True, slots=True)
class _Method:
    """A builder, and the options that it takes beyond those that every rule has."""

    build: Callable[..., pb.Rule]
    takes: tuple[str, ...] = ()


METHODS: Final[Mapping[str, _Method]] = MappingProxyType(
    {method.name: _Method(getattr(rules, method.name), method.arguments) for method in CATALOGUE}
)

_MINUS_INFINITY: Final = ("-inf", "-infinity")

_FLAGS: Final = {
    "amount": "--amount",
    "sparsity": "--sparsity",
    "scope": "--global",
    "importance_scores": "--importance-scores",
    "dim": "--dim",
    "n": "--n",
    "map": "--map",
    "head_dim": "--head-dim",
    "round_to": "--round-to",
    "same_width": "--same-width",
}


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Give the options of a command. Raises: UsageError. SystemExit after --help and --version."""
    return _parser().parse_args(list(_joined(words)))


class _Parser(argparse.ArgumentParser):
    """A parser that leaves it to others to say what is wrong, as text or as JSON."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see: {self.prog} --help)")


def _joined(words: Sequence[str]) -> Iterator[str]:
    """Give `--n -inf` as `--n=-inf`: argparse takes numbers that begin with a minus, but not this one."""
    rest = iter(words)
    for word in rest:
        following = next(rest, None) if word == "--n" else None
        if following is None:
            yield word
        elif following.lower() in _MINUS_INFINITY:
            yield f"{word}={following}"
        else:
            yield from (word, following)


def _parser() -> argparse.ArgumentParser:
    top = _Parser(
        prog="prune",
        description="Prune neural networks: a safetensors file in, a pruned safetensors file out.",
        epilog=_EXAMPLES,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"prune {version('pruning-service')}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands.add_parser("run", help="prune a file", description="Prune a file.", allow_abbrev=False))
    _add_apply(
        commands.add_parser(
            "apply",
            help="prune a file with masks that `run --output mask` wrote",
            description="Prune a file with masks that `prune run --output mask` wrote; needs no server.",
            allow_abbrev=False,
        )
    )
    _add_pack(
        commands.add_parser(
            "pack",
            help="write what survived in a pruned file, and one bit an entry: a smaller file",
            description="Write what survived in a pruned file, and one bit an entry; lossless, and needs no server.",
            allow_abbrev=False,
        )
    )
    _add_unpack(
        commands.add_parser(
            "unpack",
            help="write the file that a packed one was made of",
            description="Write the file that a packed one was made of; needs no server.",
            allow_abbrev=False,
        )
    )
    inspect = commands.add_parser("inspect", help="print the sparsity of a file by tensor", allow_abbrev=False)
    inspect.add_argument("file", type=Path, metavar="FILE.safetensors")
    _add_json(inspect)
    methods = commands.add_parser("methods", help="print what a server offers", allow_abbrev=False)
    _add_server(methods)
    _add_json(methods)
    commands.add_parser("serve", help="run a server: prune serve --help", add_help=False)
    return top


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "source",
        type=Path,
        metavar="IN.safetensors",
        help="or a folder of a Hugging Face model, whose result is a folder that from_pretrained loads",
    )
    run.add_argument(
        "-o",
        dest="out",
        type=Path,
        metavar="OUT.safetensors",
        help="where the result goes; a file may be IN, a folder new",
    )
    run.add_argument(
        "--output",
        choices=get_args(Output),
        default="pruned",
        help="form of the result; packed: what survived and one bit an entry; removed: without the units that fell",
    )
    run.add_argument(
        "--seed", type=int, metavar="S", help="of random choices, 0 to 2^64 - 1; default: drawn and reported"
    )
    run.add_argument(
        "--digests",
        action="store_true",
        help="report SHA-256 of the files that were sent and came; checked on both sides",
    )
    run.add_argument(
        "--report", type=Path, metavar="REPORT.json", help="write what --json prints into a file, for the next step"
    )
    _add_canonical_zero(run)
    dry = run.add_mutually_exclusive_group()
    dry.add_argument("--plan", action="store_true", help="only say what would be pruned; the model is not sent")
    dry.add_argument("--dry-run", action="store_true", help="only report what would come out; nothing is written")
    _add_rule(run.add_argument_group("the rule"))
    _add_units(run.add_argument_group("units: channels of several tensors that are tied"))
    _add_server(run)
    _add_json(run)


def _add_apply(apply: argparse.ArgumentParser) -> None:
    apply.add_argument("model", type=Path, metavar="MODEL.safetensors")
    apply.add_argument("masks", type=Path, metavar="MASKS.safetensors")
    apply.add_argument("-o", dest="out", type=Path, metavar="OUT.safetensors", required=True, help="may be MODEL")
    _add_json(apply)


def _add_pack(pack: argparse.ArgumentParser) -> None:
    pack.add_argument("source", type=Path, metavar="IN.safetensors")
    pack.add_argument("-o", dest="out", type=Path, metavar="OUT.safetensors", required=True, help="may be IN")
    _add_canonical_zero(pack)
    _add_json(pack)


def _add_unpack(unpack: argparse.ArgumentParser) -> None:
    unpack.add_argument("source", type=Path, metavar="PACKED.safetensors")
    unpack.add_argument("-o", dest="out", type=Path, metavar="OUT.safetensors", required=True, help="may be PACKED")
    _add_json(unpack)


def _add_canonical_zero(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--canonical-zero", action="store_true", help="packed: write -0.0 as +0.0, one bit in place of its full width"
    )


def _add_rule(rule: argparse._ArgumentGroup) -> None:
    rule.add_argument(
        "--recipe", type=Path, metavar="FILE.yaml", help="rules from a file, in place of all options below"
    )
    rule.add_argument("--method", choices=METHODS, metavar="M", help=", ".join(METHODS))
    rule.add_argument("--amount", type=_amount, metavar="A", help="0.5: half of what is unpruned; 1000: so many")
    rule.add_argument(
        "--sparsity", type=float, metavar="S", help="in place of --amount: prune until this part is pruned"
    )
    rule.add_argument("--global", dest="scope", action="store_const", const="global", help="all tensors compete")
    rule.add_argument("--dim", type=int, metavar="D", help="structured: the dim whose channels fall; default 0")
    rule.add_argument(
        "--n", type=_norm, metavar="N", help="ln_structured, remove_units: a number, inf, fro or nuc; default 2"
    )
    rule.add_argument(
        "--include", action="append", default=[], metavar="G", help="glob of names, or re:REGEX; repeatable"
    )
    rule.add_argument(
        "--exclude", action="append", default=[], metavar="G", help="glob of names to leave alone; repeatable"
    )
    rule.add_argument("--prior", choices=("mask", "zeros"), default="mask", help="zeros: what is zero counts as pruned")
    rule.add_argument(
        "--importance-scores", action="store_const", const=True, help="rank `w:scores` of the file, not w"
    )


def _add_units(units: argparse._ArgumentGroup) -> None:
    units.add_argument(
        "--map",
        metavar="MAP",
        help="what is tied, by a name that `prune methods` lists; without --method it is remove_units; groups of your "
        "own stand in a --recipe",
    )
    units.add_argument(
        "--head-dim", type=int, metavar="N", help="entries of an attention head, for maps that ask for it"
    )
    units.add_argument("--round-to", type=int, metavar="N", help="keep a multiple of N in each group, rounded up")
    units.add_argument(
        "--same-width", action="store_const", const=True, help="keep the same number in all groups of one pattern"
    )


def _add_server(command: argparse.ArgumentParser) -> None:
    server = command.add_argument_group("the server")
    server.add_argument(
        "--server",
        action="append",
        metavar="HOST:PORT",
        help="default: start the service here, on a private socket, for this command; repeatable: calls take turns",
    )
    server.add_argument(
        "--timeout", type=_timeout, metavar="SECONDS", help="inf: no limit; default: 30, and 1 for every 10 MB"
    )
    server.add_argument(
        "--retries", type=_retries, metavar="N", help="how often a call that failed may be tried again; default: 3"
    )
    server.add_argument("--tls", action="store_true", help="connect over TLS; the options below that begin so imply it")
    server.add_argument("--tls-ca", type=Path, metavar="FILE.pem", help="who signed its certificate; default: roots")
    server.add_argument("--tls-cert", type=Path, metavar="FILE.pem", help="this side's certificate (mTLS)")
    server.add_argument("--tls-key", type=Path, metavar="FILE.pem", help="its private key")
    server.add_argument("--tls-server-name", metavar="NAME", help="the name in its certificate; default: HOST")
    server.add_argument("--token-file", type=Path, metavar="FILE", help="a token that is sent along, read at each call")


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON object; errors too, on stderr")


def rules_of(options: argparse.Namespace) -> Rules:
    """Give the rules that the options of `prune run` ask for.

    Raises: UsageError if they do not fit each other. RecipeError. OSError if a recipe cannot be read.
    """
    given = _given(options)
    if options.recipe is not None:
        if options.method or given or options.include or options.exclude or options.prior != "mask":
            raise UsageError("--recipe takes the place of --method and its options; give one or the other")
        return rules.load_recipe(options.recipe)
    if options.method is None and options.map is not None:
        options.method = "remove_units"
    if options.method is None:
        raise UsageError(f"--method or --recipe is required; methods: {', '.join(METHODS)}")
    _check_fit(options.method, given)
    try:
        return _rule(options, given)
    except RecipeError as error:  # the builder does not know that this is the recipe's only rule
        raise in_rule(error, 0) from error


def _check_fit(name: str, given: Mapping[str, object]) -> None:
    takes = METHODS[name].takes
    for option in given:
        if option not in takes and not (option == "sparsity" and "amount" in takes):
            raise UsageError(f"{name} takes no {_FLAGS[option]}")
    if "map" in takes and "map" not in given:
        raise UsageError(f"{name} needs --map; groups of your own stand in a --recipe")
    if "amount" in takes and not {"amount", "sparsity"} & given.keys():
        raise UsageError(f"{name} needs --amount or --sparsity")


def _rule(options: argparse.Namespace, given: dict[str, object]) -> pb.Rule:
    if options.sparsity is not None:
        del given["sparsity"]
        given["amount"] = rules.sparsity(options.sparsity)
    method = METHODS[options.method]
    if "map" in method.takes:
        if options.include or options.exclude:
            raise UsageError(f"{options.method} takes no --include and --exclude: --map says which tensors")
        return method.build(**given, prior=options.prior)
    return method.build(**given, include=options.include, exclude=options.exclude, prior=options.prior)


def _given(options: argparse.Namespace) -> dict[str, object]:
    """Give those options that only some methods take, as their builders call them."""
    if options.amount is not None and options.sparsity is not None:
        raise UsageError("--amount and --sparsity exclude each other")
    return {name: getattr(options, name) for name in _FLAGS if getattr(options, name) is not None}


def _amount(text: str) -> AmountLike:
    try:
        return int(text)
    except ValueError:
        return _number(text, "a part such as 0.5 or a count such as 1000")


def _norm(text: str) -> rules.NormLike:
    if text in ("fro", "nuc"):
        return text  # type: ignore[return-value]  # mypy does not narrow str to the literals
    return _number(text, "a number, inf, -inf, fro or nuc")


def _timeout(text: str) -> float:
    try:
        return timeouts.check(_number(text, "seconds, or inf"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _retries(text: str) -> int:
    try:
        return retry.check(int(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"retries are a whole number, 0 for none; got {text!r}") from error


def _number(text: str, wanted: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"this is {wanted}; got {text!r}") from error
