"""The tensors that consume the units of each rule of coupled channels, where the rule uses statistics."""

from collections.abc import Mapping, Sequence

from pruning_engine.checkpoints.parameters import Parameters
from pruning_engine.granularities.consumers import check_gated, with_consumers
from pruning_engine.granularities.resolved_groups import ResolvedGroup
from pruning_engine.planning.auxiliary_checks import Users, parts_with_statistics
from pruning_engine.planning.stages import Groups
from pruning_engine.recipe import Recipe, Rule
from pruning_proto.names import UNIT_SCORES


def inputs_of_maps(groups: Groups) -> Mapping[str, int]:
    """Return the input dims that built-in maps know, by parameter."""
    ties = (tie for each in groups.values() for group in each for tie in group.ties)
    return {tie.parameter: tie.dim for tie in ties if tie.is_input}


def find_consumers(recipe: Recipe, groups: Groups, parameters: Parameters, input_dims: Mapping[str, int]) -> Groups:
    """Return the groups of each rule, with the ties that consume the units.

    Raises: MismatchError for statistics that are missing, and groups that the score does not rank.
    """
    return {
        position: _found(recipe.rules[position], each, parameters, input_dims, f"rules[{position}]")
        for position, each in groups.items()
    }


def users_of_units(recipe: Recipe, groups: Groups) -> Users:
    """Return the parameters whose statistics each rule uses, or that its scores of units are beside."""
    return {
        position: frozenset(
            tie.parameter
            for group in each
            for tie in group.ties
            if tie.is_consumer or (tie is group.ties[0] and UNIT_SCORES in recipe.rules[position].score.used_auxiliary)
        )
        for position, each in groups.items()
    }


def _found(
    rule: Rule, groups: Sequence[ResolvedGroup], parameters: Parameters, input_dims: Mapping[str, int], path: str
) -> Sequence[ResolvedGroup]:
    if rule.score.ranks_gated_units:
        for group in groups:
            check_gated(group, f"{path}.score.{rule.score.field}")
    parts = {f"{path}.{field}": part for field, part in parts_with_statistics(rule) if part.uses_statistics}
    if not parts:
        return groups
    return [with_consumers(group, parts, input_dims, parameters) for group in groups]
