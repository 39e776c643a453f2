"""Prune options to values: what a call asks for. No decisions: what a value means is decided by `pruning_engine`."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeVar

from pruning_engine.allocations.table import ALLOCATIONS
from pruning_engine.granularities.table import GRANULARITIES
from pruning_engine.planning.options import PlanOptions
from pruning_engine.recipe import (
    Amount,
    Bounds,
    Count,
    Entries,
    Fraction,
    Granularity,
    Kept,
    Prior,
    Recipe,
    Rule,
    Scope,
    Score,
    Selector,
    Sparsity,
    Swaps,
    check,
    default_scope,
)
from pruning_engine.scores.table import SCORES
from pruning_engine.updates.table import UPDATES
from pruning_proto import formats
from pruning_proto.formats import OutputFormat
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.messages.fields import invalid, read, write
from pruning_service.messages.plan_options import plan_options_of
from pruning_service.messages.request_limits import check_names, check_rules, expressions

Value = TypeVar("Value")

_SCOPES = {
    pb.SCOPE_LOCAL: Scope.LOCAL,
    pb.SCOPE_GLOBAL: Scope.GLOBAL,
    pb.SCOPE_OUTPUT_CHANNEL: Scope.OUTPUT_CHANNEL,
}
_SCOPE_NUMBERS = {scope: number for number, scope in _SCOPES.items()}
_PRIORS = {
    pb.PRIOR_UNSPECIFIED: Prior.HISTORY,
    pb.PRIOR_MASK: Prior.MASK,
    pb.PRIOR_ZEROS: Prior.ZEROS,
    pb.PRIOR_HISTORY: Prior.HISTORY,
}
_AMOUNTS: Mapping[str, Callable[[float], Amount]] = {
    Fraction.field: Fraction,
    Count.field: lambda count: Count(int(count)),
    Sparsity.field: Sparsity,
    Kept.field: lambda kept: Kept(int(kept)),
}

_NO_OPTIONS: Final = PlanOptions()

EXPRESSION_BYTES: Final = 4096
"""What a regular expression counts as, however short: `(.{30}){30}` takes milliseconds to compile."""


KEPT_RECIPES: Final = 64
"""Recipes that stay parsed for the next calls that send the same bytes: all that a server keeps of a call."""

KEPT_BYTES: Final = 1024
"""The longest recipe that stays parsed. Parsed, it takes up to forty times as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a call asks for.

    `recipe` has its seed, given or drawn here; `is_seed_reported` says whether a result depends on it, or the caller
    gave it, so that the same request leaves the same bytes. `leaves_out_skipped`: the byte ranges that the plan
    skips do not come. `options_bytes` is how much planning and describing have to do for it, as for a header of that
    length, and `expressions` is the number of regular expressions. `plan_options`: what else the plan depends on.
    `is_compressed`: a packed result is in zstd frames.
    """

    recipe: Recipe
    is_seed_reported: bool
    output: OutputFormat
    aliases: Mapping[str, str]
    plan_options: PlanOptions = _NO_OPTIONS
    canonical_zero: bool = False
    is_compressed: bool = False
    digests: bool = False
    leaves_out_skipped: bool = False
    options_bytes: int = 0
    expressions: int = 0


def request_of(options: pb.PruneOptions) -> Request:
    """Return what options ask for, checked as far as possible without the file.

    Raises: Refusal, RecipeError.
    """
    output = formats.BY_NUMBER[options.output]
    if options.canonical_zero and not output.is_packed:
        raise invalid("canonical_zero", "it is for OUTPUT_FORM_PACKED only; ask for that format, or leave it out")
    if options.compression and not output.is_packed:
        raise invalid("compression", "it is for OUTPUT_FORM_PACKED only; ask for that format, or leave it out")
    if options.leaves_out_skipped and options.digests:
        raise invalid("leaves_out_skipped", "digests are of whole files; ask for one of the two only")
    if options.leaves_out_skipped and not output.needs_units:
        raise invalid("leaves_out_skipped", "it is for OUTPUT_FORM_REMOVED only; leave it out, and send the whole file")
    check_names(options)
    recipe, regular_expressions = _checked(options.recipe)
    has_seed = recipe.seed is not None
    return Request(
        recipe=recipe if has_seed else replace(recipe, seed=secrets.randbits(64) if recipe.is_random else 0),
        is_seed_reported=has_seed or recipe.is_random,
        output=output,
        aliases=dict(options.aliases),
        plan_options=plan_options_of(options, output),
        canonical_zero=options.canonical_zero,
        is_compressed=options.compression == pb.COMPRESSION_ZSTD,
        digests=options.digests,
        leaves_out_skipped=options.leaves_out_skipped,
        options_bytes=options.ByteSize() + EXPRESSION_BYTES * regular_expressions,
        expressions=regular_expressions,
    )


def _checked(message: pb.Recipe) -> tuple[Recipe, int]:
    """Return a recipe, and the number of its regular expressions. Raises: as `request_of`."""
    serialized = message.SerializeToString(deterministic=True)
    return _checked_short(serialized) if len(serialized) <= KEPT_BYTES else _checked_now(message)


@lru_cache(KEPT_RECIPES)
def _checked_short(serialized: bytes) -> tuple[Recipe, int]:
    return _checked_now(pb.Recipe.FromString(serialized))


def _checked_now(message: pb.Recipe) -> tuple[Recipe, int]:
    check_rules(message.rules)
    recipe = recipe_of(message)
    check(recipe)
    return recipe, expressions(message.rules)


def recipe_of(message: pb.Recipe) -> Recipe:
    """Return the recipe of a message of which every part is known here.

    Raises: Refusal INVALID_RECIPE with the path of a part that is missing.
    """
    return Recipe(
        rules=tuple(_rule(rule, f"recipe.rules[{position}]") for position, rule in enumerate(message.rules)),
        seed=message.seed if message.HasField("seed") else None,
    )


def rule_message(rule: Rule) -> pb.Rule:
    """Return a rule as a message, without what has the default that absence means."""
    message = pb.Rule()
    write(rule.score, getattr(message.score, rule.score.field))
    if rule.select != Selector():
        message.select.include.extend(rule.select.include)
        message.select.exclude.extend(rule.select.exclude)
    if rule.granularity != Entries():
        write(rule.granularity, getattr(message.granularity, rule.granularity.field))
    if rule.scope is not default_scope(rule.score, rule.granularity):
        message.scope = _SCOPE_NUMBERS[rule.scope]
    if rule.amount is not None:
        setattr(message.amount, rule.amount.field, rule.amount.value)
    if rule.prior is not Prior.HISTORY:
        message.prior = pb.PRIOR_ZEROS if rule.prior is Prior.ZEROS else pb.PRIOR_MASK
    _write_calibrated(rule, message)
    return message


def _write_calibrated(rule: Rule, message: pb.Rule) -> None:
    if rule.input_dim is not None:
        message.input_dim = rule.input_dim
    if rule.allocation is not None:
        write(rule.allocation, getattr(message.allocation, rule.allocation.field))
    if rule.bounds is not None:
        write(rule.bounds, message.bounds)
    if rule.swaps is not None:
        write(rule.swaps, message.swaps)
    if rule.update is not None:
        write(rule.update, getattr(message.update, rule.update.field))


def _rule(message: pb.Rule, path: str) -> Rule:
    granularity = message.granularity.WhichOneof("kind")
    if granularity and message.HasField("select") and not GRANULARITIES[granularity].takes_select:
        raise invalid(f"{path}.select", f"a rule of {granularity} acts on the tensors of its groups; leave select out")
    return Rule(
        score=_score(message, path),
        amount=_amount(message.amount, f"{path}.amount") if message.HasField("amount") else None,
        select=Selector(include=tuple(message.select.include), exclude=tuple(message.select.exclude)),
        granularity=_granularity(message.granularity, f"{path}.granularity")
        if message.HasField("granularity")
        else Entries(),
        scope=_SCOPES.get(message.scope),  # type: ignore[arg-type] # None: the score's own
        prior=_PRIORS[message.prior],
        allocation=_one_of(ALLOCATIONS, message, "allocation", path),
        bounds=read(Bounds, message.bounds, f"{path}.bounds") if message.HasField("bounds") else None,
        input_dim=message.input_dim if message.HasField("input_dim") else None,
        swaps=read(Swaps, message.swaps, f"{path}.swaps") if message.HasField("swaps") else None,
        update=_one_of(UPDATES, message, "update", path),
    )


def _one_of(table: Mapping[str, type[Value]], message: pb.Rule, part: str, path: str) -> Value | None:
    """Return a part of a rule that is one of the values of a table; None if it is absent."""
    if not message.HasField(part):
        return None
    kinds = getattr(message, part)
    kind = kinds.WhichOneof("kind")
    if kind is None:
        raise invalid(f"{path}.{part}", f"it needs {_either(table)}; leave it out for none")
    return read(table[kind], getattr(kinds, kind), f"{path}.{part}.{kind}")


def _score(message: pb.Rule, path: str) -> Score:
    kind = message.score.WhichOneof("kind")
    if kind is None:
        raise invalid(f"{path}.score", f"a score is required: {_either(SCORES)}")
    _refuse_explicit_defaults(message, SCORES[kind], path)
    return read(SCORES[kind], getattr(message.score, kind), f"{path}.score.{kind}")


def _refuse_explicit_defaults(message: pb.Rule, score: type[Score], path: str) -> None:
    """Refuse parts that the rule does not take and that have their default value; `check` refuses other values."""
    granularity = GRANULARITIES[message.granularity.WhichOneof("kind") or Entries.field]
    if message.scope != pb.SCOPE_UNSPECIFIED and not (score.ranks and granularity.takes_scope):
        raise invalid(f"{path}.scope", f"{(granularity if score.ranks else score).field} takes no scope; leave it out")
    if message.HasField("granularity") and not score.ranks and score.only_granularity == Entries.field:
        raise invalid(f"{path}.granularity", f"{score.field} takes no granularity; leave it out")


def _granularity(message: pb.Granularity, path: str) -> Granularity:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise invalid(path, f"a granularity needs {_either(GRANULARITIES)}; leave it out for entries")
    return read(GRANULARITIES[kind], getattr(message, kind), f"{path}.{kind}")


def _amount(message: pb.Amount, path: str) -> Amount:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise invalid(path, "an amount needs a fraction, a count, a sparsity, or the units kept")
    return _AMOUNTS[kind](getattr(message, kind))


def _either(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"
