"""Messages that name the options as they were typed, where the service names the fields of a recipe.

The options are the caller's words; of a recipe file, the fields are. Programs find the fields in the violations of an
error, which stay as they are.
"""

import re
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from pruning_client.cli.answer import Answer
from pruning_client.cli.commands.option_words import in_option_words
from pruning_client.cli.commands.surgery_options import option_of_field, options_of_rules
from pruning_client.cli.rule_options import option_of_argument
from pruning_client.errors import PruningError, Violation
from pruning_proto.methods import ARGUMENTS

_FIELD: Final = re.compile(r'(?:recipe\.)?rules\[(\d+)\]((?:\.[a-z_]+|\[\d+\]|\["[^"]*"\])*)')
_ALWAYS: Final = {"select.include": "--include", "select.exclude": "--exclude", "prior": "--prior"}
"""The options of the fields that every rule has."""

_WITH_PARTS: Final = {"bounds": ("bounds.min_sparsity", "bounds.max_sparsity")}
"""Fields without an option of their own, and their parts, which have some."""

_IN_ANOTHER: Final = ("granularity.n_of_m.n", "granularity.n_of_m.m")
"""Fields that are parts of another option: `--n-of-m 2:4`."""


@contextmanager
def naming_options(options: Namespace) -> Iterator[None]:
    """Let errors that leave the block name options."""
    try:
        yield
    except PruningError as error:
        error.args = (in_options(str(error.args[0]), options), *error.args[1:])
        if not options.json:
            named = [replace(each, field=in_options(each.field, options)) for each in error.violations]
            error.violations = tuple(_distinct(named))
        raise


def naming_options_in(answer: Answer, options: Namespace) -> Answer:
    """Return the answer with warnings that name options."""
    warnings = tuple(replace(each, message=in_options(each.message, options)) for each in answer.warnings)
    return replace(answer, warnings=warnings)


def in_options(text: str, options: Namespace) -> str:
    """Return a text with options in the place of the fields that they set, of a recipe file with its fields."""
    if options.recipe is None:
        text = _FIELD.sub(lambda found: _option(int(found[1]), found[2].removeprefix("."), options), text)
    return in_option_words(text, options)


def _option(rule: int, field: str, options: Namespace) -> str:
    of_rules = options_of_rules(options)
    if rule < len(of_rules):
        return option_of_field(of_rules[rule], field, options)
    known = [path for path in ARGUMENTS if f"{field}.".startswith(f"{path}.") and path not in _IN_ANOTHER]
    always = next((option for path, option in _ALWAYS.items() if field.startswith(path)), None)
    paths = [max(known, key=len)] if known else _WITH_PARTS.get(field, ())
    given = next((option for path in paths if (option := option_of_argument(ARGUMENTS[path], options))), None)
    whole = f"--map {options.map}" if options.map is not None else f"--method {options.method}"
    return always or given or whole


def _distinct(violations: list[Violation]) -> list[Violation]:
    """Return one violation of each field."""
    return list({each.field: each for each in violations}.values())
