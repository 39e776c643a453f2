"""What was asked of a checkpoint, round after round, as its `__metadata__` tells under one key.

The value is a JSON list of `{"recipe": ..., "version": ...}`, the oldest round first. A recipe stands there as the JSON
mapping of the contract's message `pruning.v1.Recipe`, so that it can be sent, or saved as a recipe file, again. What
came of it is not there: in a stream the header leaves before that is known.

Source: https://protobuf.dev/programming-guides/json, for 64-bit integers (strings) and infinities (words).
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.recipe import (
    Amount,
    Argument,
    Channels,
    Count,
    CustomMask,
    Fraction,
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
)

KEY: Final = "pruning.v1"


def with_round(metadata: Mapping[str, str], recipe: Recipe, version: str) -> dict[str, str]:
    """Give the metadata with one more round under KEY, and every other key as it came.

    Raises: CheckpointError if what stands under KEY is no history.
    """
    rounds = _rounds(metadata.get(KEY, "[]"))
    rounds.append({"recipe": recipe_json(recipe), "version": version})
    return {**metadata, KEY: json.dumps(rounds, ensure_ascii=False, separators=(",", ":"))}


def recipe_json(recipe: Recipe) -> dict[str, Any]:
    """Give a recipe as the JSON mapping of `pruning.v1.Recipe`."""
    seed = {} if recipe.seed is None else {"seed": str(recipe.seed)}
    return {"rules": [_rule(rule) for rule in recipe.rules], **seed}


def _rule(rule: Rule) -> dict[str, Any]:
    fields: dict[str, Any] = {"score": _score(rule.score)}
    if rule.select.include or rule.select.exclude:
        selector = {"include": list(rule.select.include), "exclude": list(rule.select.exclude)}
        fields["select"] = {name: patterns for name, patterns in selector.items() if patterns}
    if isinstance(rule.granularity, Channels):
        fields["granularity"] = {"channels": {"dim": rule.granularity.dim}}
    if rule.scope is not Scope.LOCAL:
        fields["scope"] = f"SCOPE_{rule.scope.name}"
    if rule.amount is not None:
        fields["amount"] = _amount(rule.amount)
    if rule.prior is not Prior.MASK:
        fields["prior"] = f"PRIOR_{rule.prior.name}"
    return fields


def _score(score: Score) -> dict[str, Any]:
    match score:
        case Magnitude():
            kind, fields = "magnitude", _norm(score.norm)
        case ImportanceScores():
            falls_back = {"fallBackToWeights": True} if score.fall_back_to_weights else {}
            kind, fields = "importanceScores", _norm(score.norm) | falls_back
        case Method():
            arguments = {name: _argument(value) for name, value in score.arguments.items()}
            kind, fields = "method", {"name": score.name, "arguments": arguments}
        case CustomMask():
            kind, fields = "customMask", {}
        case Identity():
            kind, fields = "identity", {}
        case Random():
            kind, fields = "random", {}
    return {kind: fields}


def _argument(value: Argument) -> dict[str, Any]:
    match value:
        case bool():
            return {"flag": value}
        case int():
            return {"integer": str(value)}
        case float():
            return {"number": _number(value)}
    return {"text": value}


def _norm(norm: Norm | None) -> dict[str, Any]:
    match norm:
        case None:
            return {}
        case NamedNorm():
            return {"norm": {"named": f"NAMED_NORM_{norm.name}"}}
    return {"norm": {"p": _number(norm)}}


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _amount(amount: Amount) -> dict[str, Any]:
    match amount:
        case Fraction():
            return {"fraction": amount.value}
        case Count():
            return {"count": str(amount.value)}
    return {"sparsity": amount.value}


def _rounds(text: str) -> list[object]:
    try:
        rounds = json.loads(text)
    except (ValueError, RecursionError):
        rounds = None
    if not isinstance(rounds, list):
        raise CheckpointError(
            Reason.INVALID_HISTORY, f"the file's __metadata__ has a key {KEY!r} that is no list of rounds; remove it"
        )
    return rounds
