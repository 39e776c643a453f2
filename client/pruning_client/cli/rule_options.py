"""The options of `prune run` that say what is pruned, and the rules that they ask for."""

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, get_args

from pruning_client import rules
from pruning_client.calls.request import Rules
from pruning_client.cli.arguments import UsageError, number, part
from pruning_client.cli.calibration_options import CALIBRATION_FLAGS, add_calibration_options
from pruning_client.cli.statistics_option import AUTO, add_statistics
from pruning_client.errors import RecipeError, in_rule
from pruning_client.results.model_warning import ModelWarning
from pruning_client.rules.rule import Rule
from pruning_proto.counted import counted
from pruning_proto.methods import METHODS

_ARGUMENTS: Final = {method.name: method.arguments for method in METHODS}
_ARGUMENTS["n_of_m"] = ("n_of_m", *(name for name in _ARGUMENTS["n_of_m"] if name not in ("n", "m")))
"""The methods, each with the arguments that its builder takes beyond those that every rule has.

The n and m of the builder `n_of_m` are one option, `--n-of-m 2:4`; `--n` is the norm of other methods.
"""

_FLAGS: Final = {
    "amount": "--amount",
    "sparsity": "--sparsity",
    "count": "--count",
    "scope": "--scope or --global",
    "importance_scores": "--importance-scores",
    "dim": "--dim",
    "n": "--n",
    "n_of_m": "--n-of-m",
    "score": "--score",
    "allow_dense": "--allow-dense",
    "block": "--block",
    **CALIBRATION_FLAGS,
    "map": "--map",
    "head_dim": "--head-dim",
    "round_to": "--round-to",
    "same_width": "--same-width",
    "own_widths": "--own-widths",
}
"""The options of those arguments."""


_AMOUNTS: Final = ("amount", "sparsity", "count")
"""Options that say how much is pruned; the builders take each as their `amount`."""

_PLACES: Final = {
    "local": "in each tensor",
    "output_channel": "in each output channel",
    "global": "in all tensors together",
}
"""Where a count is pruned, by the scope."""

_SCORES: Final = tuple(dict.fromkeys((*get_args(rules.ScoreName), *get_args(rules.UnitScoreName))))

RULE: Final = "the rule"
"""The title of its options."""

_LARGEST_PERCENTAGE: Final = 100
"""Whole numbers up to this may be meant as a percentage."""


def add_rule_options(run: ArgumentParser, *, takes_statistics: bool = False) -> None:
    """Declare the options; with `takes_statistics` also --statistics and the method auto."""
    _add_rule(run.add_argument_group(RULE), [*([AUTO] if takes_statistics else []), *_ARGUMENTS])
    calibrated = run.add_argument_group("calibrated methods, by statistics of inputs")
    if takes_statistics:
        add_statistics(calibrated)
    add_calibration_options(calibrated)
    _add_units(run.add_argument_group("coupled channels, pruned together"))


def rules_of(options: Namespace) -> Rules:
    """Return the rules that the options ask for.

    Raises: UsageError if the options do not fit each other. RecipeError. OSError if a recipe cannot be read.
    """
    arguments = _arguments(options)
    if options.recipe is not None:
        if options.method or arguments or options.include or options.exclude or options.prior is not None:
            raise UsageError("--recipe replaces --method and its options; give one or the other")
        return rules.load_recipe(options.recipe)
    if options.method is None:
        options.method = _implied_method(options)
    if options.method is None:
        raise UsageError(f"--method or --recipe is required; methods: {', '.join(_ARGUMENTS)}")
    _check_fit(options.method, arguments)
    try:
        return _rule(options, arguments)
    except RecipeError as error:  # the builder does not know that this is the recipe's only rule
        raise in_rule(error, 0) from error


def option_of_argument(argument: str, options: Namespace) -> str | None:
    """Return the option, as it was given, that sets an argument of a builder; None if it was not given."""
    given = [
        name for name in (_AMOUNTS if argument == "amount" else (argument,)) if getattr(options, name, None) is not None
    ]
    if not given:
        return None
    if argument == "scope":
        return "--global" if options.scope == "global" else "--scope"
    return _FLAGS[given[0]]


def refuse_rule_options(options: Namespace) -> None:
    """Raise a UsageError for options of a rule over weights or channels, where no option asks for such a rule."""
    given = ", ".join(_FLAGS[name] for name in _arguments(options))
    if given:
        raise UsageError(f"{given}: for a rule beside the whole units; give its --method or --map too, or leave it out")


def takes_amount(method: str | None) -> bool:
    """Whether a method needs an amount; None, of a recipe file, does not."""
    return method is not None and "amount" in _ARGUMENTS[method]


def option_warnings(options: Namespace) -> tuple[ModelWarning, ...]:
    """Return a warning for a whole number as --amount that may be meant as a percentage."""
    amount = options.amount
    if not isinstance(amount, int) or not 0 < amount <= _LARGEST_PERCENTAGE:
        return ()
    things = "channel" if options.method in ("random_structured", "ln_structured") or options.map else "weight"
    where = _PLACES[options.scope or "local"]
    message = (
        f"--amount {amount} is a count, as in torch: {counted(amount, things)} {where}; for {amount}% give "
        f"--amount {amount}%, and for this count --count {amount}, without this warning"
    )
    return (ModelWarning(kind="small_amount", tensor=None, message=message),)


def _add_rule(rule: argparse._ArgumentGroup, methods: Sequence[str]) -> None:
    rule.add_argument(
        "--recipe", type=Path, metavar="FILE.yaml", help="rules from a file, instead of the options below"
    )
    auto = "; auto: the best that --statistics allow" if AUTO in methods else ""
    rule.add_argument("--method", choices=methods, metavar="M", help=", ".join(methods) + auto)
    rule.add_argument(
        "--amount",
        type=_amount,
        metavar="A",
        help="0.5 or 50%%: half of the unpruned weights; a whole number is a count, as in torch: see --count",
    )
    rule.add_argument(
        "--count",
        type=_count,
        metavar="N",
        help="instead of --amount: exactly N weights (or channels) of each tensor; with --global, of all together",
    )
    rule.add_argument(
        "--sparsity", type=part, metavar="S", help="instead of --amount: prune until this fraction of all is pruned"
    )
    scope = rule.add_mutually_exclusive_group()
    scope.add_argument(
        "--global", dest="scope", action="store_const", const="global", help="rank the weights of all tensors together"
    )
    scope.add_argument(
        "--scope",
        choices=get_args(rules.ScopeName),
        metavar="SCOPE",
        help="what competes: local, the weights of each tensor; output_channel, those of each of its output channels; "
        "global, those of all tensors; default: local, but output_channel for wanda and ria",
    )
    rule.add_argument(
        "--dim",
        type=int,
        metavar="D",
        help="structured: the dim whose channels are pruned, default: 0, the outputs of Linear and Conv layers (of "
        "ConvTranspose and GPT-2's Conv1D they are along 1); n_of_m: the dim along which weights are consecutive, "
        "default: the inputs where they are known, else the last",
    )
    rule.add_argument(
        "--n", type=_norm, metavar="N", help="ln_structured, remove_units: a number, inf, fro or nuc; default: 2"
    )
    rule.add_argument(
        "--n-of-m",
        type=_pattern,
        metavar="N:M",
        help="2:4: keep 2 of each 4 consecutive weights; also instead of --amount of wanda, ria, sparsegpt and alps; "
        "without --method it means n_of_m",
    )
    rule.add_argument(
        "--allow-dense",
        action="store_const",
        const=True,
        help="n_of_m: leave a tensor as it is whose dim is not a multiple of M; default: refuse it",
    )
    rule.add_argument(
        "--block",
        type=_block,
        metavar="RxC",
        help="l1_unstructured: prune rectangles of R output channels by C input channels, such as 16x1",
    )
    rule.add_argument(
        "--score",
        choices=_SCORES,
        metavar="S",
        help=f"what is important, default: magnitude; n_of_m: {', '.join(get_args(rules.ScoreName))}; remove_units: "
        f"{', '.join(get_args(rules.UnitScoreName))}",
    )
    rule.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="G",
        help="glob of tensor names, or re:REGEX; repeatable; default: the weights of layers",
    )
    rule.add_argument(
        "--exclude", action="append", default=[], metavar="G", help="glob of tensor names not to prune; repeatable"
    )
    rule.add_argument(
        "--prior",
        choices=get_args(rules.PriorName),
        metavar="PRIOR",
        help="what counts as pruned already: mask, a prior mask; zeros, also every zero; history (default), also "
        "zeros of tensors that an earlier round pruned",
    )
    rule.add_argument(
        "--importance-scores", action="store_const", const=True, help="rank by `w:scores` of the file instead of w"
    )


def _add_units(units: argparse._ArgumentGroup) -> None:
    units.add_argument(
        "--map",
        metavar="MAP",
        help="the channel groups of an architecture, by a name that `prune methods` lists; without --method it means "
        "remove_units; other groups are given in a --recipe",
    )
    units.add_argument("--head-dim", type=int, metavar="N", help="size of an attention head, for maps that require it")
    units.add_argument("--round-to", type=int, metavar="N", help="keep a multiple of N in each group, rounded up")
    units.add_argument(
        "--same-width", action="store_const", const=True, help="keep the same number in all groups of one pattern"
    )
    units.add_argument(
        "--own-widths",
        action="store_const",
        const=True,
        help="with --global: let layers keep different numbers; a folder's config.json must have a number for each; "
        "default: where it has",
    )


def _arguments(options: Namespace) -> dict[str, object]:
    """Return the options that only some methods take, by the names of the builders' arguments."""
    given = [f"--{name}" for name in _AMOUNTS if getattr(options, name) is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other")
    return {name: getattr(options, name) for name in _FLAGS if getattr(options, name) is not None}


def _implied_method(options: Namespace) -> str | None:
    """Return the method of options that only one method takes."""
    if options.map is not None:
        return "remove_units"
    return "n_of_m" if options.n_of_m is not None else None


def _check_fit(method: str, arguments: Mapping[str, object]) -> None:
    takes = _ARGUMENTS[method]
    for argument in arguments:
        if argument not in takes and not (argument in _AMOUNTS and "amount" in takes):
            hint = "; leave out --method, and choose with --score" if argument == "n_of_m" else ""
            raise UsageError(f"{method} takes no {_FLAGS[argument]}{hint}")
    if "map" in takes and "map" not in arguments:
        raise UsageError(f"{method} needs --map; other groups are given in a --recipe")
    has_amount, has_pattern = not arguments.keys().isdisjoint(_AMOUNTS), "n_of_m" in arguments
    if "n_of_m" in takes and "amount" in takes:
        if has_amount is has_pattern:
            raise UsageError(f"{method} needs either --amount, --sparsity or --count, or --n-of-m")
    elif "amount" in takes and not has_amount:
        raise UsageError(f"{method} needs --amount or --sparsity, or --count")
    elif "n_of_m" in takes and not has_pattern:
        raise UsageError(f"{method} needs --n-of-m, such as --n-of-m 2:4")


def _rule(options: Namespace, arguments: dict[str, object]) -> Rule:
    if options.sparsity is not None:
        del arguments["sparsity"]
        arguments["amount"] = rules.sparsity(options.sparsity)
    if options.count is not None:
        arguments["amount"] = arguments.pop("count")
    if options.method == "n_of_m":
        del arguments["n_of_m"]
        arguments["n"], arguments["m"] = options.n_of_m
    if "map" not in _ARGUMENTS[options.method]:
        arguments |= {"include": options.include, "exclude": options.exclude}
    elif options.include or options.exclude:
        raise UsageError(f"{options.method} takes no --include and --exclude: --map says which tensors")
    rule: Rule = getattr(rules, options.method)(**arguments, prior=options.prior or "history")
    return rule


def _amount(text: str) -> rules.AmountLike:
    try:
        return int(text)
    except ValueError:
        return part(text, "a part such as 0.5 or a count such as 1000")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"this is a whole number such as 1000; got {text!r}")
    return int(text)


def _pattern(text: str) -> tuple[int, int]:
    n, separator, m = text.partition(":")
    if not (separator and n.isdecimal() and m.isdecimal()):
        raise argparse.ArgumentTypeError(f"this is N:M, such as 2:4; got {text!r}")
    return int(n), int(m)


def _block(text: str) -> tuple[int, int]:
    rows, separator, columns = text.partition("x")
    if not (separator and rows.isdecimal() and columns.isdecimal()):
        raise argparse.ArgumentTypeError(f"this is ROWSxCOLUMNS, such as 16x1; got {text!r}")
    return int(rows), int(columns)


def _norm(text: str) -> rules.NormLike:
    if text in ("fro", "nuc"):
        return text  # type: ignore[return-value]  # mypy does not narrow str to the literals
    return number(text, "a number, inf, -inf, fro or nuc")
