# ruff: noqa: PLR0913 - a builder has the parts of a Rule, each by keyword
"""Builders of rules that prune units: coupled channels of several tensors."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

from pruning_client.errors import recipe_error
from pruning_client.recipes.amounts import AmountLike
from pruning_client.recipes.channel_groups import Group
from pruning_client.rules.calibration import UpdateLike, calibrated
from pruning_client.rules.parts import NormLike, PriorName, ScopeName, at_least_one, choice, ranking, rule_of, score_of
from pruning_client.rules.rule import Rule
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

Groups: TypeAlias = Group | Iterable[Group]
UnitScoreName: TypeAlias = Literal[
    "magnitude",
    "obs",
    "flap",
    "activation_norm",
    "weighted_magnitude",
    "glu_peak_to_peak",
    "unit_scores",
    "router_magnitude",
]

_SCORES_BY_UPDATE: Final[Mapping[str, UnitScoreName]] = {"refit": "obs", "bias_compensation": "activation_norm"}

_END_OF_64_BITS: Final = 2**64
_SCORES: Final = {
    "obs": pb.Score(obs=pb.ObsScore()),
    "flap": pb.Score(flap=pb.Flap()),
    "activation_norm": pb.Score(activation_norm=pb.ActivationNorm()),
    "weighted_magnitude": pb.Score(weighted_magnitude=pb.WeightedMagnitude()),
    "glu_peak_to_peak": pb.Score(glu_peak_to_peak=pb.GluPeakToPeak()),
    "unit_scores": pb.Score(unit_scores=pb.UnitScores()),
    "router_magnitude": pb.Score(router_magnitude=pb.RouterMagnitude()),
}


def remove_units(
    amount: AmountLike,
    n: NormLike = 2,
    *,
    groups: Groups = (),
    map: str = "",  # noqa: A002 - the contract's word
    head_dim: int | None = None,
    scope: ScopeName = "local",
    round_to: int = 1,
    same_width: bool = False,
    own_widths: bool = False,
    prior: PriorName = "history",
    importance_scores: bool = False,
    score: UnitScoreName | None = None,
    update: UpdateLike | None = None,
) -> Rule:
    """Prune the units of the smallest Ln norm, over all tensors of their group; at least one of each group is kept.

    `groups` are built by `group`, `map` is a name that `Client.capabilities` lists; with both, they are added.
    `head_dim` is for maps that need it. The number of kept units is rounded up to a multiple of `round_to`; with
    `same_width` all groups of one pattern keep as many as the one that keeps most, so that one number describes them.
    Groups whose number a field of config.json has do so anyway, unless `own_widths`, for configs with one per layer.

    `score`: absent, "obs" with `update="refit"`, "activation_norm" with `update="bias_compensation"`, else "magnitude",
    which `n` belongs to. Of the feed-forward channels of small language models, "magnitude" chose worse than chance on
    one, "glu_peak_to_peak" on both: use statistics where there are any. "obs" is the best score, and needs Gram
    matrices (`w:in_gram`) of the tensors that consume the channels; "activation_norm", "weighted_magnitude" and "flap"
    need norms. "unit_scores" are scores that the caller sends (`w:unit_scores`), and "router_magnitude" ranks experts
    by the magnitude of their router's rows. `update="refit"` fits the remaining weights of the consumers by least
    squares, "bias_compensation" their biases.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.remove_units(0.5, map='llama_mlp', round_to=64)
        remove_units(0.5, map='llama_mlp', round_to=64)
    """
    if score is None:
        score = "magnitude" if importance_scores or n != 2 else _default_score(update)
    if score == "magnitude":
        ranked = score_of(n, "local", importance_scores=importance_scores)
    else:
        ranked = choice(_SCORES, score, "score")
        if importance_scores or n != 2:
            raise recipe_error(Reason.INVALID_RECIPE, "score", f"{score} takes no norm and no importance_scores")
    rule = ranking(rule_of(ranked, (), (), prior), amount, scope)
    of_units = _units(rule, groups, map, head_dim, round_to, same_width=same_width, own_widths=own_widths)
    return Rule.from_message(calibrated(of_units, update=update))


def _default_score(update: UpdateLike | None) -> UnitScoreName:
    """Return the best score by the statistics that an update needs."""
    kinds = {update} if update is None or isinstance(update, str) else set(update)
    return next((score for kind, score in _SCORES_BY_UPDATE.items() if kind in kinds), "magnitude")


def remove_random(
    amount: AmountLike,
    *,
    groups: Groups = (),
    map: str = "",  # noqa: A002 - the contract's word
    head_dim: int | None = None,
    scope: ScopeName = "local",
    round_to: int = 1,
    same_width: bool = False,
    own_widths: bool = False,
    prior: PriorName = "history",
) -> Rule:
    """Prune units at random, from the recipe's seed.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.remove_random(0.5, map='bert_ffn')
        remove_random(0.5, map='bert_ffn')
    """
    rule = ranking(rule_of(pb.Score(random=pb.RandomScore()), (), (), prior), amount, scope)
    return Rule.from_message(
        _units(rule, groups, map, head_dim, round_to, same_width=same_width, own_widths=own_widths)
    )


def remove_dead(
    *,
    groups: Groups = (),
    map: str = "",  # noqa: A002 - the contract's word
    head_dim: int | None = None,
    round_to: int = 1,
    same_width: bool = False,
    own_widths: bool = False,
    prior: PriorName = "history",
) -> Rule:
    """Prune the units whose weights are all zero or pruned, running statistics aside; the model's output stays.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.remove_dead(map='bert_ffn')
        remove_dead(map='bert_ffn')
    """
    rule = rule_of(pb.Score(dead=pb.Dead()), (), (), prior)
    return Rule.from_message(
        _units(rule, groups, map, head_dim, round_to, same_width=same_width, own_widths=own_widths)
    )


def _units(
    rule: pb.Rule, groups: Groups, name: str, head_dim: int | None, round_to: int, *, same_width: bool, own_widths: bool
) -> pb.Rule:
    all_groups = [groups] if isinstance(groups, Group) else list(groups)
    if not all_groups and not name:
        description = "name the coupled channels: groups, built by `rules.group`, or the name of a map"
        raise recipe_error(Reason.INVALID_RECIPE, "granularity.units", description)
    units = pb.Units(
        groups=[group.to_message() for group in all_groups], map=name, same_width=same_width, own_widths=own_widths
    )
    if head_dim is not None:
        units.head_dim = at_least_one(head_dim, "granularity.units.head_dim", _END_OF_64_BITS)
    if round_to != 1:
        units.round_to = at_least_one(round_to, "granularity.units.round_to")
    rule.granularity.units.CopyFrom(units)
    return rule
