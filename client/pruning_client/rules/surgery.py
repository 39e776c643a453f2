# ruff: noqa: PLR0913 - a builder has the parts of a Rule, each by keyword
"""Builders of rules that remove experts, layers and rows of the vocabulary from a model; for output "removed".

    rules.keep_experts(32), rules.drop_layers("21-28"), rules.keep_tokens(ids)

The units are counted as the model has them before any rule: after `drop_layers([0])`, layer 5 is still layer 5. They
are given as numbers or as text, `"3,7,12-15"`; as a mapping for each group separately, by the group's name: the
block of the experts, `model.layers.0.mlp`, or the stack of layers, `model.layers`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Final, Literal, TypeAlias, cast

from pruning_client.errors import recipe_error
from pruning_client.recipes.amounts import kept
from pruning_client.recipes.unit_lists import UnitsLike
from pruning_client.recipes.unit_lists import units_of as units_of  # noqa: PLC0414 - a name of this module
from pruning_client.recipes.unit_lists import units_text as units_text  # noqa: PLC0414 - a name of this module
from pruning_client.rules.parts import PriorName, ScopeName, at_least_one, ranking, rule_of
from pruning_client.rules.rule import Rule
from pruning_client.statistics.unit_scores import UnitScoresLike, unit_scores_of
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

ByGroup: TypeAlias = Mapping[str, UnitsLike]
"""Units by the name of their group; groups that are not named keep all of theirs."""

ExpertScoreLike: TypeAlias = Literal["router_magnitude", "magnitude", "random"] | UnitScoresLike
ExpertsOf: TypeAlias = Literal["all", "layers", "mtp"]
"""Whose experts: of all layers, without or only of those for multi-token prediction."""

LayerScoreLike: TypeAlias = Literal["random"] | UnitScoresLike
TokenScoreLike: TypeAlias = Literal["magnitude", "random"] | UnitScoresLike

_SCORES: Final = {
    "router_magnitude": pb.Score(router_magnitude=pb.RouterMagnitude()),
    "magnitude": pb.Score(magnitude=pb.Magnitude()),
    "random": pb.Score(random=pb.RandomScore()),
}
_EXPERT_MAPS: Final = {"all": "experts", "layers": "experts_of_layers", "mtp": "experts_of_mtp"}
_WORDS: Final = {**dict.fromkeys(_EXPERT_MAPS.values(), "experts"), "layers": "layers", "vocabulary": "tokens"}
"""The maps, and what their units are called."""

_FILE: Final = ".safetensors"
_END_OF_64_BITS: Final = 2**64


def keep_experts(
    experts: int | UnitsLike | ByGroup,
    *,
    score: ExpertScoreLike | None = None,
    scope: ScopeName = "local",
    of: ExpertsOf = "all",
    least_kept: int | None = None,
    balanced_blocks: int | None = None,
    prior: PriorName = "history",
) -> Rule:
    """Keep this many experts of each layer, those of the largest score; or the experts that are listed.

    `score` is "router_magnitude" (the default: the sum of the magnitudes of an expert's row in its router),
    "magnitude" (the norm of its weights) or "random"; or scores that were measured: a mapping of each group to one
    number per expert, statistics, or a file (see `statistics.unit_scores`). In global scope `experts` are counted over
    all layers together, of which each keeps at least `least_kept`: the number of experts that a token takes; for a
    folder it is that of config.json, as is `balanced_blocks`, the groups of experts that keep the same number each.
    `of` are the layers: "all", "mtp" (those of multi-token prediction, which `collect_statistics` does not measure), or
    "layers" (without these).

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.keep_experts(4, scope='global')
        keep_experts(4, scope='global')
    """
    map_name = _expert_map(of)
    rule = _keeping(map_name, experts, _scores(score, "router_magnitude", *_SCORES), scope, prior)
    if least_kept is not None:
        rule.granularity.units.least_kept = at_least_one(least_kept, "granularity.units.least_kept", _END_OF_64_BITS)
    if balanced_blocks is not None:
        rule.granularity.units.balanced_blocks = at_least_one(balanced_blocks, "granularity.units.balanced_blocks")
    return Rule.from_message(rule)


def drop_experts(experts: UnitsLike | ByGroup, *, of: ExpertsOf = "all") -> Rule:
    """Remove the experts that are listed, of each layer or of the layers that are named; `of` as of `keep_experts`.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.drop_experts({'model.layers.1.mlp': '3,7,12-15'})
        drop_experts({'model.layers.1.mlp': '3,7,12-15'})
    """
    return Rule.from_message(_listed(_expert_map(of), experts, keeps=False))


def keep_layers(
    layers: int | UnitsLike | ByGroup, *, score: LayerScoreLike | None = None, prior: PriorName = "history"
) -> Rule:
    """Keep this many layers, those of the largest score, or the layers that are listed.

    `score`, for a number of layers, is what was measured (such as ShortGPT's block influence): a mapping of the stack
    to one number per layer, statistics, or a file; or "random".

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.keep_layers('0-11')
        keep_layers('0-11')
    """
    return Rule.from_message(_keeping("layers", layers, _scores(score, None, "random"), "local", prior))


def drop_layers(layers: UnitsLike | ByGroup) -> Rule:
    """Remove the layers that are listed; of a model with several stacks, by stack: `{"model.layers": "21-28"}`.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.drop_layers('21-28')
        drop_layers('21-28')
    """
    return Rule.from_message(_listed("layers", layers, keeps=False))


def keep_tokens(
    tokens: int | UnitsLike | ByGroup,
    *,
    score: TokenScoreLike | None = None,
    always_kept: UnitsLike | None = None,
    prior: PriorName = "history",
) -> Rule:
    """Keep this many rows of the vocabulary, those of the largest score, or the ids that are listed.

    `score` is "magnitude" (the norm of a token's embedding, the default), "random", or scores such as frequencies: a
    mapping of the embedding's name to one number per id, statistics, or a file. `always_kept` are ids that are among
    the number, whatever their score; for a folder, those that its files name are added: special tokens.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.keep_tokens(32000, always_kept='0-2')
        keep_tokens(32000, always_kept='0-2')
    """
    rule = _keeping("vocabulary", tokens, _scores(score, "magnitude", "magnitude", "random"), "local", prior)
    if always_kept is not None:
        if rule.score.HasField("listed"):
            description = "tokens that are listed are those that are kept; add them to the list"
            raise recipe_error(Reason.INVALID_RECIPE, "always_kept", description)
        rule.granularity.units.always_kept.extend(units_of(always_kept, "always_kept"))
    return Rule.from_message(rule)


def drop_tokens(tokens: UnitsLike | ByGroup) -> Rule:
    """Remove the rows of the vocabulary whose ids are listed.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.drop_tokens([5, 6, 7])
        drop_tokens('5-7')
    """
    return Rule.from_message(_listed("vocabulary", tokens, keeps=False))


def _expert_map(of: str) -> str:
    if of not in _EXPERT_MAPS:
        names = ", ".join(map(repr, _EXPERT_MAPS))
        raise recipe_error(Reason.INVALID_RECIPE, "of", f"this is one of {names}; got {of!r}")
    return _EXPERT_MAPS[of]


@dataclass(frozen=True, slots=True)
class _ScoreChoice:
    """The score that was given, None if there is none, the one by default, and the names that are allowed."""

    given: object
    default: str | None
    names: tuple[str, ...]

    @property
    def expected(self) -> str:
        return f"{', '.join(map(repr, self.names))}, a mapping of scores, or a file of them, *{_FILE}"


def _scores(given: object, default: str | None, *names: str) -> _ScoreChoice:
    return _ScoreChoice(given, default, names)


def _keeping(
    map_name: str, units: int | UnitsLike | ByGroup, score: _ScoreChoice, scope: ScopeName, prior: PriorName
) -> pb.Rule:
    """Return a rule that keeps a number of units by their scores, or those that are listed."""
    word = _WORDS[map_name]
    if not isinstance(units, Integral):
        if score.given is not None:
            raise recipe_error(Reason.INVALID_RECIPE, "score", f"{word} that are listed take no score; leave it out")
        return _listed(map_name, units, keeps=True)
    if score.given is None and score.default is None:
        description = f"a number of {word} needs one: {score.expected}; or list the {word}"
        raise recipe_error(Reason.INVALID_RECIPE, "score", description)
    rule = ranking(rule_of(_score(score), (), (), prior), kept(int(units)), scope)
    rule.granularity.units.map = map_name
    return rule


def _score(score: _ScoreChoice) -> pb.Score:
    value = score.default if score.given is None else score.given
    if isinstance(value, str) and not value.endswith(_FILE):
        if value not in score.names:
            raise recipe_error(Reason.INVALID_RECIPE, "score", f"this is {score.expected}; got {value!r}")
        return _SCORES[value]
    groups = unit_scores_of(cast("UnitScoresLike", value))
    values = {name: pb.UnitValues(values=numbers) for name, numbers in groups.items()}
    return pb.Score(unit_scores=pb.UnitScores(groups=values))


def _listed(map_name: str, units: int | UnitsLike | ByGroup, *, keeps: bool) -> pb.Rule:
    field = _WORDS[map_name]
    listed = pb.ListedUnits()
    if isinstance(units, Mapping):
        if not units:
            raise recipe_error(Reason.INVALID_RECIPE, field, f"name at least one group, and its {field}")
        for name, each in units.items():
            listed.groups[name].CopyFrom(_list(units_of(each, f'{field}["{name}"]'), keeps=keeps))
    else:
        listed.every_group.CopyFrom(_list(units_of(units, field), keeps=keeps))
    rule = pb.Rule(score=pb.Score(listed=listed))
    rule.granularity.units.map = map_name
    return rule


def _list(units: list[int], *, keeps: bool) -> pb.UnitList:
    return pb.UnitList(kept=units) if keeps else pb.UnitList(pruned=units)
