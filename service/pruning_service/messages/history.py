"""What was asked of a checkpoint, round after round, as a file's `__metadata__` has it under one key.

The value is a JSON list of `{"recipe": ..., "version": ...}`, the oldest round first. A recipe is the JSON mapping of
the contract's message `pruning.v1.Recipe`, so that it can be sent, or saved as a recipe file, again. What was pruned is
not there: in a stream the header leaves before that is known.

The list has at most HISTORY_BYTES. The newest rounds stay; those before them are counted by `{"omitted_rounds": N}`,
which is then the first entry. A round whose recipe alone is longer has `"omitted_bytes"`, the size of the recipe's
message, in place of `"recipe"`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from pruning_engine.errors import CheckpointError, PruningError, Reason
from pruning_engine.recipe import Channels, ListedUnits, Method, Recipe, Rule, Units, UnitScores, check
from pruning_engine.report import GroupReport
from pruning_proto import limits
from pruning_proto.names import CONFIG_KEY, FRAMEWORK, FRAMEWORK_KEY, HISTORY_KEY
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.messages.recipe import recipe_of, rule_message
from pruning_service.messages.request_limits import check_rules, expressions
from pruning_service.status import Refusal

_OMITTED: Final = "omitted_rounds"
_MOST_ROUNDS: Final = 2**31
_COUNT_BYTES: Final = 64
"""What the count of omitted rounds and the brackets take at most."""

_MOST_EXPRESSIONS: Final = 8
"""Regular expressions that are read again: the memory that they take is not reserved."""


@dataclass(frozen=True, slots=True)
class EarlierRounds:
    """The recipes of the rounds that a history has, as far as they can be read; and how many cannot."""

    recipes: tuple[Recipe, ...] = ()
    not_read: int = 0


def earlier_rounds(metadata: Mapping[str, str]) -> EarlierRounds:
    """Return what a file's history asked for before. Together, its rounds may have what one request may have.

    Raises: CheckpointError if the value under HISTORY_KEY is not a history.
    """
    text = metadata.get(HISTORY_KEY, "[]")
    rounds = _rounds(text)
    messages = [message for message in map(_recipe_message, rounds) if message is not None]
    if not _is_within_limits([rule for message in messages for rule in message.rules]):
        return EarlierRounds(not_read=_count(rounds))
    recipes = tuple(recipe for recipe in map(_recipe, messages) if recipe is not None)
    return EarlierRounds(recipes, _count(rounds) - len(recipes))


def with_round(metadata: Mapping[str, str], recipe: Recipe, version: str) -> dict[str, str]:
    """Return the metadata with one more round under HISTORY_KEY, and every other key as it came.

    A file without a framework gets one: loaders accept a file without metadata, but not metadata without it.

    Raises: CheckpointError if the value under HISTORY_KEY is not a history.
    """
    rounds = _rounds(metadata.get(HISTORY_KEY, "[]"))
    rounds.append(_round(recipe, version))
    framework = {} if FRAMEWORK_KEY in metadata else {FRAMEWORK_KEY: FRAMEWORK}
    return {**framework, **metadata, HISTORY_KEY: _newest(rounds)}


def with_config(metadata: Mapping[str, str], groups: Sequence[GroupReport]) -> dict[str, str]:
    """Return the metadata with the new values of fields of config.json under CONFIG_KEY.

    A field that groups do not agree on is left out. Later rules count: they see what earlier ones left.
    """
    values: dict[str, set[int]] = {}
    for group in {(group.name, group.tensors): group for group in groups}.values():
        for name, value in group.config.items():
            values.setdefault(name, set()).add(value)
    fields = {name: found.pop() for name, found in values.items() if len(found) == 1}
    return {**metadata, CONFIG_KEY: json.dumps(fields, ensure_ascii=False)} if fields else dict(metadata)


def recipe_json(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as the JSON mapping of `pruning.v1.Recipe`."""
    seed = {} if recipe.seed is None else {"seed": str(recipe.seed)}
    return {"rules": [_rule_json(rule) for rule in recipe.rules], **seed}


def _rule_json(rule: Rule) -> dict[str, Any]:
    """Return a rule as JSON, in the order and with the defaults that all versions have written: equal bytes."""
    fields = MessageToDict(rule_message(rule))
    if isinstance(rule.score, Method):
        arguments = _in_order(fields["score"]["method"].get("arguments", {}), rule.score.arguments)
        fields["score"]["method"] = {"name": rule.score.name, "arguments": arguments}
    if isinstance(rule.score, ListedUnits | UnitScores) and rule.score.groups:
        (score,) = fields["score"].values()  # by its name in JSON, `unitScores`
        score["groups"] = _in_order(score["groups"], sorted(rule.score.groups))
    if isinstance(rule.granularity, Channels):
        fields["granularity"]["channels"]["dim"] = rule.granularity.dim
    if isinstance(rule.granularity, Units):
        groups = fields["granularity"]["units"].get("groups", [])
        for group, written in zip(rule.granularity.groups, groups, strict=True):
            _order_group(written, group.config)
    return {"score": fields.pop("score"), **fields}


def _order_group(group: dict[str, Any], config: Mapping[str, int]) -> None:
    if config:
        group["config"] = _in_order(group["config"], config)
    for tie in group["ties"]:
        if "scored" in tie:
            tie["scored"] = tie.pop("scored")  # behind all others


def _in_order(fields: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the entries of a map, which messages keep in an arbitrary order."""
    return {name: fields[name] for name in names}


def _round(recipe: Recipe, version: str) -> dict[str, object]:
    size = sum(rule_message(rule).ByteSize() for rule in recipe.rules)
    if size > limits.HISTORY_BYTES // 2:  # the JSON of a message is longer
        return {"omitted_bytes": size, "version": version}
    return {"recipe": recipe_json(recipe), "version": version}


def _omitted_before(rounds: list[object]) -> int:
    match rounds:
        case [{"omitted_rounds": int() as before}, *_] if 0 < before < _MOST_ROUNDS and before is not True:
            return before
    return 0


def _newest(rounds: list[object]) -> str:
    """Return the JSON of the newest rounds that fit, and how many came before them."""
    omitted = _omitted_before(rounds)
    if omitted:
        rounds = rounds[1:]
    texts = [_json(each) for each in rounds]
    left = limits.HISTORY_BYTES - _COUNT_BYTES
    first = len(texts)
    while first and (left := left - len(texts[first - 1].encode(errors="surrogatepass")) - 1) >= 0:
        first -= 1
    omitted += first
    counted = [_json({_OMITTED: omitted})] if omitted else []
    return f"[{','.join([*counted, *texts[first:]])}]"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _count(rounds: list[object]) -> int:
    """Return how many rounds a history has had, omitted ones too."""
    before = _omitted_before(rounds)
    return len(rounds) + (before - 1 if before else 0)


def _rounds(text: str) -> list[object]:
    if len(text) > limits.HISTORY_READ_BYTES:  # of an unknown number of rounds
        return [{_OMITTED: 1}]
    try:
        rounds = json.loads(text)
    except (ValueError, RecursionError):
        rounds = None
    if not isinstance(rounds, list):
        raise CheckpointError(
            Reason.INVALID_HISTORY,
            f"the file's __metadata__ has a key {HISTORY_KEY!r} that is not a list of rounds; remove it",
        )
    return rounds


def _recipe_message(entry: object) -> pb.Recipe | None:
    """Return the recipe of a round as a message; None if it is not one of this version."""
    recipe = entry.get("recipe") if isinstance(entry, dict) else None
    if not isinstance(recipe, dict):
        return None
    try:
        return ParseDict(recipe, pb.Recipe())
    except (ParseError, ValueError, TypeError, AttributeError, RecursionError):  # of whatever others wrote there
        return None


def _recipe(message: pb.Recipe) -> Recipe | None:
    try:
        recipe = recipe_of(message)
        check(recipe)
    except (PruningError, Refusal):
        return None
    return recipe


def _is_within_limits(rules: Iterable[pb.Rule]) -> bool:
    """Whether all selections of these rules, each counted once, are no more than a request may have."""
    parts = (pb.Rule(select=rule.select, granularity=rule.granularity) for rule in rules)
    distinct = list({part.SerializeToString(deterministic=True): part for part in parts}.values())
    try:
        check_rules(distinct)
    except Refusal:
        return False
    return expressions(distinct) <= _MOST_EXPRESSIONS
