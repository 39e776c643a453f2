"""What was asked of a checkpoint, round after round, as its `__metadata__` tells under one key.

The value is a JSON list of `{"recipe": ..., "version": ...}`, the oldest round first. A recipe stands there as the JSON
mapping of the contract's message `pruning.v1.Recipe`, so that it can be sent, or saved as a recipe file, again. What
came of it is not there: in a stream the header leaves before that is known.

Source: https://protobuf.dev/programming-guides/json, for 64-bit integers (strings) and infinities (words).
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.recipe import (
    Amount,
    Argument,
    ChannelGroup,
    Channels,
    ChannelSlice,
    Count,
    CustomMask,
    Dead,
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
    Units,
)
from pruning_engine.report import GroupReport
from pruning_proto.names import CONFIG_KEY, HISTORY_KEY


def with_round(metadata: Mapping[str, str], recipe: Recipe, version: str) -> dict[str, str]:
    """Give the metadata with one more round under HISTORY_KEY, and every other key as it came.

    Raises: CheckpointError if what stands under HISTORY_KEY is no history.
    """
    rounds = _rounds(metadata.get(HISTORY_KEY, "[]"))
    rounds.append({"recipe": recipe_json(recipe), "version": version})
    return {**metadata, HISTORY_KEY: json.dumps(rounds, ensure_ascii=False, separators=(",", ":"))}


def with_config(metadata: Mapping[str, str], groups: Sequence[GroupReport]) -> dict[str, str]:
    """Give the metadata with what groups of tied channels now are in config.json, under CONFIG_KEY.

    A field that groups do not agree on is left out. Later rules count: they see what earlier ones left.
    """
    values: dict[str, set[int]] = {}
    for group in {(group.name, group.tensors): group for group in groups}.values():
        for name, value in group.config.items():
            values.setdefault(name, set()).add(value)
    fields = {name: found.pop() for name, found in values.items() if len(found) == 1}
    return {**metadata, CONFIG_KEY: json.dumps(fields, ensure_ascii=False)} if fields else dict(metadata)


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
    if isinstance(rule.granularity, Units):
        fields["granularity"] = {"units": _units(rule.granularity)}
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
        case Dead():
            kind, fields = "dead", {}
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


def _units(units: Units) -> dict[str, Any]:
    fields = {
        "groups": [_group(group) for group in units.groups],
        "map": units.map,
        "headDim": str(units.head_dim or ""),
        "roundTo": units.round_to if units.round_to != 1 else 0,
        "sameWidth": units.same_width,
    }
    return _without_absent(fields)


def _group(group: ChannelGroup) -> dict[str, Any]:
    fields = {
        "forEach": group.for_each,
        "ties": [_tie(tie) for tie in group.ties],
        "units": str(group.units or ""),
        "config": {name: str(count) for name, count in group.config.items()},
    }
    return _without_absent(fields)


def _tie(tie: ChannelSlice) -> dict[str, Any]:
    fields = {
        "tensor": tie.tensor,
        "dim": tie.dim,
        "offset": str(tie.offset or ""),
        "outer": str(tie.outer) if tie.outer != 1 else "",
        "inner": str(tie.inner) if tie.inner != 1 else "",
        "indices": [str(index) for index in tie.indices],
        "mayBeMissing": tie.may_be_missing,
    }
    return _without_absent(fields) | ({} if tie.scored is None else {"scored": tie.scored})


def _without_absent(fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out what has the default that absence means."""
    return {name: value for name, value in fields.items() if value}


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
            Reason.INVALID_HISTORY,
            f"the file's __metadata__ has a key {HISTORY_KEY!r} that is no list of rounds; remove it",
        )
    return rounds
