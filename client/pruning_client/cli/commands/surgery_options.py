"""The options of `prune run` that remove experts, layers and rows of the vocabulary, and their rules."""

import argparse
import json
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pruning_client import rules
from pruning_client.calls.request import Rules, is_of_whole_units, recipe_of
from pruning_client.cli.arguments import UsageError
from pruning_client.cli.rule_options import refuse_rule_options, rules_of
from pruning_client.errors import RecipeError, in_rule
from pruning_client.results.model_warning import ModelWarning
from pruning_client.rules.recipe import Recipe
from pruning_client.rules.rule import Rule
from pruning_client.rules.surgery import units_of, units_text
from pruning_client.statistics.unit_scores import unmeasured_units

_COUNTED: Final = ("keep_experts", "keep_layers")
"""Options that may be a number of units, which need scores to choose them by; the first that is given takes --score."""

_EXPERT_SCORES: Final = ("router_magnitude", "magnitude", "random")
_MTP: Final = "mtp_score"

_BUILDERS: Final[dict[str, Callable[..., Rule]]] = {
    "keep_layers": rules.keep_layers,
    "drop_layers": rules.drop_layers,
    "keep_experts": rules.keep_experts,
    "drop_experts": rules.drop_experts,
    "keep_tokens": rules.keep_tokens,
    "drop_tokens": rules.drop_tokens,
}
"""The builder of each option, in the order of their rules: what is in a removed layer is not ranked."""


def add_surgery_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("whole experts, layers and tokens")
    group.add_argument(
        "--keep-experts",
        type=_units,
        metavar="N|LIST",
        help="keep N experts of each layer, by --score (router_magnitude, magnitude, random; default: "
        "router_magnitude) or --scores; or those of a list such as 0-15,20",
    )
    group.add_argument(
        "--mtp-score",
        choices=_EXPERT_SCORES,
        metavar="SCORE",
        help="with --keep-experts N: rank the experts of multi-token-prediction layers by router_magnitude, magnitude "
        "or random, because --scores lack them; default: as those of all layers",
    )
    group.add_argument(
        "--drop-experts", type=_list, metavar="LIST", help="remove these experts of each layer: 3,7,12-15"
    )
    group.add_argument(
        "--keep-layers",
        type=_layers,
        action=_ByStack,
        metavar="N|[STACK=]LIST",
        help="keep N layers by --scores, or --score random; or a list, as of --drop-layers",
    )
    group.add_argument(
        "--drop-layers",
        type=_list_of_layers,
        action=_ByStack,
        metavar="[STACK=]LIST",
        help="remove these layers, counted from 0: 21-28; of a model with several stacks, such as one with a vision "
        "tower, name the stack: model.language_model.layers=21-28; repeatable, once for each stack",
    )
    group.add_argument(
        "--keep-tokens", type=Path, metavar="FILE", help="keep the rows of the vocabulary whose ids are in a text file"
    )
    group.add_argument("--drop-tokens", type=Path, metavar="FILE", help="remove them")
    group.add_argument(
        "--scores",
        type=Path,
        metavar="FILE.safetensors",
        help="scores of experts or layers: GROUP:unit_scores, or GROUP:unit_sum and GROUP:unit_count, of each group; "
        "--plan lists the groups",
    )


def removes_whole_units(recipe: Recipe) -> bool:
    """Whether a rule is over experts, layers or rows of the vocabulary, so that output "removed" is what is meant."""
    return any(map(is_of_whole_units, recipe.to_message().rules))


def all_rules_of(options: Namespace) -> Rules:
    """Return the rules of all options, those of whole experts, layers and tokens first.

    Raises: UsageError if options do not fit each other. RecipeError, MismatchError, OSError, CheckpointError.
    """
    found = _surgery_rules(options)
    if not found:
        return rules_of(options)
    if options.recipe is not None:
        raise UsageError("--recipe replaces the options that say what is removed; put them into the recipe")
    if all(given is None for given in (options.method, options.map, options.n_of_m)):
        refuse_rule_options(options)
        return found
    return [*found, *recipe_of(rules_of(options), None).rules]


def _surgery_rules(options: Namespace) -> list[Rule]:
    """Return the rules that the options ask for. --score is taken from the options: it is not for other rules then.

    Raises: UsageError if options do not fit each other. RecipeError, MismatchError, OSError, CheckpointError.
    """
    for units in ("experts", "layers", "tokens"):
        if getattr(options, f"keep_{units}") is not None and getattr(options, f"drop_{units}") is not None:
            raise UsageError(f"--keep-{units} and --drop-{units} exclude each other")
    if options.mtp_score is not None and not isinstance(options.keep_experts, int):
        raise UsageError("--mtp-score is for --keep-experts N; give the number of experts to keep, or leave it out")
    scores = _scores(options)
    names = options_of_rules(options)
    return [_rule(name, options, scores, position) for position, name in enumerate(names)]


def options_of_rules(options: Namespace) -> list[str]:
    """Return, for each of the first rules, the option that it comes from, by its name in the options."""
    given = [name for name in _BUILDERS if getattr(options, name, None) is not None]  # `prune scan` has none of them
    return [each for name in given for each in ((name, _MTP) if _has_mtp(name, options) else (name,))]


def option_of_field(name: str, field: str, options: Namespace) -> str:
    """Return the option that sets a field of the rule that comes from an option."""
    option = f"--{name.replace('_', '-')}"
    if name in _COUNTED and isinstance(getattr(options, name), int) and field.startswith("score"):
        return "--score or --scores" if options.scores is None else "--scores"
    return option


def _has_mtp(name: str, options: Namespace) -> bool:
    return name == "keep_experts" and options.mtp_score is not None


def surgery_warnings(options: Namespace) -> tuple[ModelWarning, ...]:
    """Return a warning for each group of --scores of which units were not measured. Raises: as `all_rules_of`."""
    if options.scores is None:
        return ()
    found = unmeasured_units(options.scores).items()
    return tuple(ModelWarning(kind="not_measured", tensor=None, message=_unmeasured(*each)) for each in found)


def _unmeasured(group: str, units: Sequence[int]) -> str:
    return (
        f"--scores: of group {group!r} nothing was counted of units {units_text(units)}, which have a score of 0 and "
        "are removed first; measure on more inputs if that is not what they are worth"
    )


def _rule(name: str, options: Namespace, scores: Mapping[str, Any], position: int) -> Rule:
    try:
        if name == _MTP:
            return rules.keep_experts(options.keep_experts, score=options.mtp_score, of="mtp")
        value = getattr(options, name)
        given: dict[str, Any] = {"score": scores[name]} if name in scores else {}
        if _has_mtp(name, options):
            given["of"] = "layers"
        return _BUILDERS[name](_ids(value) if isinstance(value, Path) else value, **given)
    except RecipeError as error:  # the builder does not know the position of its rule
        raise in_rule(error, position) from error


def _scores(options: Namespace) -> dict[str, Any]:
    """Return the score of each option that is a number of units. Raises: UsageError if it is not clear whose it is."""
    counted = [name for name in _COUNTED if isinstance(getattr(options, name), int)]
    found: dict[str, Any] = {}
    if options.score is not None and counted:
        found[counted[0]], options.score = options.score, None
    if options.scores is None:
        return found
    takers = [name for name in counted if name not in found]
    if len(takers) != 1:
        which = "--keep-experts and --keep-layers" if takers else "--keep-experts N or --keep-layers N"
        hint = "give --score for the experts, or a recipe" if takers else "give the number of units to keep"
        raise UsageError(f"--scores is for one of {which}; {hint}")
    return found | {takers[0]: options.scores}


def _ids(path: Path) -> list[int]:
    """Return the ids in a text file: a JSON list, or numbers and ranges with blanks, commas or lines between them."""
    text = path.read_text()
    try:
        content = json.loads(text)
    except ValueError:
        content = ",".join(re.split(r"[\s,]+", text.strip()))
    if not isinstance(content, list | str | int) or isinstance(content, bool):
        raise UsageError(f"{path}: is not a list of ids: numbers, or ranges such as 0-31999")
    try:
        return units_of(content, str(path))
    except RecipeError as error:
        raise UsageError(str(error)) from error


def _units(text: str) -> int | list[int]:
    """Return a count, or the units of a list."""
    return int(text) if text.isascii() and text.isdecimal() else _list(text)


def _layers(text: str) -> int | list[int] | dict[str, list[int]]:
    """Return a count, the layers of a list, or those of a stack by its name."""
    return _list_of_layers(text) if "=" in text else _units(text)


def _list_of_layers(text: str) -> list[int] | dict[str, list[int]]:
    """Return the layers of a list, or those of a stack by its name."""
    stack, equals, units = text.rpartition("=")
    return {stack: _list(units)} if equals else _list(units)


class _ByStack(argparse.Action):
    """Collects the lists of several stacks; one without a stack is given once."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        """Add a value to those given before."""
        before = getattr(namespace, self.dest)
        if before is not None:
            if not isinstance(before, dict) or not isinstance(values, dict) or before.keys() & values.keys():
                parser.error(f"{option_string} is repeated once for each stack, as STACK=LIST")
            values = before | values
        setattr(namespace, self.dest, values)


def _list(text: str) -> list[int]:
    try:
        return units_of(text, "units")
    except RecipeError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
