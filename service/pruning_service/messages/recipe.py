"""Prune options to values: what a call asks for. No decisions: what a value means is decided by `pruning_engine`."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pruning_engine.recipe import (
    Amount,
    Argument,
    ChannelGroup,
    Channels,
    ChannelSlice,
    Count,
    CustomMask,
    Dead,
    Entries,
    Fraction,
    Granularity,
    Identity,
    ImportanceScores,
    Magnitude,
    Method,
    NamedNorm,
    Norm,
    Prior,
    Random,
    Recipe,
    Rule,
    Scope,
    Score,
    Selector,
    Sparsity,
    Units,
    check,
)
from pruning_proto import formats, limits
from pruning_proto.formats import OutputFormat
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.status import Refusal, Violation

_SCOPES = {pb.SCOPE_UNSPECIFIED: Scope.LOCAL, pb.SCOPE_LOCAL: Scope.LOCAL, pb.SCOPE_GLOBAL: Scope.GLOBAL}
_PRIORS = {pb.PRIOR_UNSPECIFIED: Prior.MASK, pb.PRIOR_MASK: Prior.MASK, pb.PRIOR_ZEROS: Prior.ZEROS}
_NAMED_NORMS = {pb.NAMED_NORM_FRO: NamedNorm.FRO, pb.NAMED_NORM_NUC: NamedNorm.NUC}
_PLAIN_SCORES: Mapping[str, Score] = {
    "random": Random(),
    "custom_mask": CustomMask(),
    "identity": Identity(),
    "dead": Dead(),
}
"""Scores without fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a call asks for.

    `recipe` has its seed, given or drawn here; `is_seed_reported` says whether a result depends on it, or the caller
    gave it, so that the same request leaves the same bytes.
    """

    recipe: Recipe
    is_seed_reported: bool
    output: OutputFormat
    aliases: Mapping[str, str]
    canonical_zero: bool = False
    digests: bool = False


def request_of(options: pb.PruneOptions) -> Request:
    """Return what options ask for, checked as far as possible without the file.

    Raises: Refusal, RecipeError.
    """
    output = formats.BY_NUMBER[options.output]
    if options.canonical_zero and not output.is_packed:
        raise invalid("canonical_zero", "it is for OUTPUT_FORM_PACKED only; ask for that form, or leave it out")
    recipe = recipe_of(options.recipe)
    check(recipe)
    has_seed = recipe.seed is not None
    return Request(
        recipe=recipe if has_seed else replace(recipe, seed=secrets.randbits(64) if recipe.is_random else 0),
        is_seed_reported=has_seed or recipe.is_random,
        output=output,
        aliases=dict(options.aliases),
        canonical_zero=options.canonical_zero,
        digests=options.digests,
    )


def recipe_of(message: pb.Recipe) -> Recipe:
    """Return the recipe of a message of which every part is known here.

    Raises: Refusal INVALID_RECIPE with the path of a part that is missing.
    """
    if len(message.rules) > limits.RULES:
        raise invalid("recipe.rules", f"at most {limits.RULES} rules are allowed, got {len(message.rules)}")
    return Recipe(
        rules=tuple(_rule(rule, f"recipe.rules[{position}]") for position, rule in enumerate(message.rules)),
        seed=message.seed if message.HasField("seed") else None,
    )


def _rule(message: pb.Rule, path: str) -> Rule:
    if message.granularity.HasField("units") and message.HasField("select"):
        raise invalid(f"{path}.select", "a rule of units acts on the tensors of its ties; leave select out")
    return Rule(
        score=_score(message, path),
        amount=_amount(message.amount, f"{path}.amount") if message.HasField("amount") else None,
        select=Selector(include=tuple(message.select.include), exclude=tuple(message.select.exclude)),
        granularity=_granularity(message, path),
        scope=_SCOPES[message.scope],
        prior=_PRIORS[message.prior],
    )


def _score(message: pb.Rule, path: str) -> Score:
    score = message.score
    if score.WhichOneof("kind") in ("custom_mask", "identity", "method", "dead"):
        _refuse_ranking(message, path)
    match score.WhichOneof("kind"):
        case "magnitude":
            return Magnitude(_norm(score.magnitude, f"{path}.score.magnitude.norm"))
        case "importance_scores":
            norm = _norm(score.importance_scores, f"{path}.score.importance_scores.norm")
            return ImportanceScores(norm, score.importance_scores.fall_back_to_weights)
        case "method":
            return Method(score.method.name, _arguments(score.method, f"{path}.score.method.arguments"))
        case str() as kind:
            return _PLAIN_SCORES[kind]
    raise invalid(
        f"{path}.score",
        "a score is required: magnitude, random, importance_scores, custom_mask, identity, method or dead",
    )


def _refuse_ranking(message: pb.Rule, path: str) -> None:
    """Refuse parts that only a ranking rule takes, also in their default values."""
    given = {"scope": message.scope != pb.SCOPE_UNSPECIFIED}
    if message.score.WhichOneof("kind") != "dead":
        given["granularity"] = message.HasField("granularity")
    for field, is_given in given.items():
        if is_given:
            raise invalid(f"{path}.{field}", f"{message.score.WhichOneof('kind')} takes no {field}; leave it out")


def _arguments(method: pb.CustomMethod, path: str) -> dict[str, Argument]:
    arguments: dict[str, Argument] = {}
    for name, argument in method.arguments.items():
        kind = argument.WhichOneof("value")
        if kind is None:
            raise invalid(f'{path}["{name}"]', "an argument needs an integer, a number, a text or a flag")
        arguments[name] = getattr(argument, kind)
    return arguments


def _norm(score: pb.Magnitude | pb.ImportanceScores, path: str) -> Norm | None:
    if not score.HasField("norm"):
        return None
    match score.norm.WhichOneof("order"):
        case "p":
            return score.norm.p
        case "named" if score.norm.named in _NAMED_NORMS:
            return _NAMED_NORMS[score.norm.named]
    raise invalid(path, "a norm needs p, or a name: NAMED_NORM_FRO or NAMED_NORM_NUC")


def _granularity(message: pb.Rule, path: str) -> Granularity:
    if not message.HasField("granularity"):
        return Entries()
    match message.granularity.WhichOneof("kind"):
        case "entries":
            return Entries()
        case "channels":
            return Channels(message.granularity.channels.dim)
        case "units":
            return _units(message.granularity.units)
    raise invalid(f"{path}.granularity", "a granularity needs entries, channels or units; leave it out for entries")


def _units(message: pb.Units) -> Units:
    return Units(
        groups=tuple(map(_group, message.groups)),
        map=message.map,
        head_dim=message.head_dim or None,
        round_to=message.round_to or 1,
        same_width=message.same_width,
    )


def _group(message: pb.Group) -> ChannelGroup:
    return ChannelGroup(
        ties=tuple(map(_tie, message.ties)),
        for_each=message.for_each,
        units=message.units or None,
        config=dict(message.config),
    )


def _tie(message: pb.Tie) -> ChannelSlice:
    return ChannelSlice(
        tensor=message.tensor,
        dim=message.dim,
        offset=message.offset,
        outer=message.outer or 1,
        inner=message.inner or 1,
        indices=tuple(message.indices),
        scored=message.scored if message.HasField("scored") else None,
        may_be_missing=message.may_be_missing,
    )


def _amount(message: pb.Amount, path: str) -> Amount:
    match message.WhichOneof("kind"):
        case "fraction":
            return Fraction(message.fraction)
        case "count":
            return Count(message.count)
        case "sparsity":
            return Sparsity(message.sparsity)
    raise invalid(path, "an amount needs a fraction, a count or a sparsity")


def invalid(path: str, description: str) -> Refusal:
    """Return the refusal of one field of the options."""
    return Refusal(
        reason=Reason.INVALID_RECIPE,
        message=f"{path}: {description}",
        violations=(Violation(path, description),),
        metadata={"field": path},
    )
