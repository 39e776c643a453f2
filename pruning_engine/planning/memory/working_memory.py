"""What rules that use the inputs of a layer take while they compute: its weight as matrices, and what methods hold."""

from dataclasses import dataclass
from typing import Final

from pruning_engine.checkpoints.statistics import LayerSize, UsesStatistics
from pruning_engine.granularities.n_of_m import NOfM
from pruning_engine.planning.auxiliary_checks import parts_with_statistics
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.recipe import Recipe, Rule
from pruning_engine.scores.layer_size import checked_bytes, error_bytes, layer_size
from pruning_proto.names import IN_GRAM, INPUTS, OUT_GRAM

_TEMPORARY_BYTES: Final = 5 << 18
"""What Python's objects take, and numpy's short temporaries such as the blocks of a factorisation in fp64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingMemory:
    """Bytes of one parameter beside its weight as numbers: `most_bytes` for a moment.

    `shared_bytes`: what is computed from the statistics `source` alone, and stays as long as these.
    """

    most_bytes: int
    source: str
    shared_bytes: int


def working_memory(parameter: PlannedParameter, recipe: Recipe) -> WorkingMemory | None:
    """Return what its rules take; None if none computes with a Gram matrix, or does not say."""
    suffix = next((each for each in (IN_GRAM, INPUTS) if each in parameter.used_auxiliary), None)
    if suffix is None or parameter.input_dim is None or OUT_GRAM in parameter.used_auxiliary:
        return None
    size = layer_size(parameter.name, parameter.shape, parameter.dtype, parameter.input_dim)
    source, rules = parameter.auxiliary[suffix], [recipe.rules[position] for position in parameter.rules]
    if not all(_is_known(rule, size) for rule in rules):
        return None
    is_made = suffix == INPUTS
    is_cast = not is_made and (source.dtype == "F64") != (size.itemsize == 8)
    changes = any(rule.replaces_weights for rule in rules)
    parts = [part for rule in rules for _, part in parts_with_statistics(rule) if not _is_freed(part, rule)]
    factors = sum({part.shared_bytes(size) for part in parts})  # the same ones are computed once
    most = max(
        checked_bytes(size, is_made=is_made) - factors,  # these come later
        *(_rule_bytes(rule, size) for rule in rules),
        error_bytes(size, is_changed=changes),
    )
    return WorkingMemory(
        most_bytes=most
        + _TEMPORARY_BYTES
        + 2 * size.entries
        + (size.gram_bytes // max(1, size.matrices) if is_cast else 0)
        + (_reordered_bytes(size) if any(_is_reordered(rule, parameter) for rule in rules) else 0),
        source=source.name,
        shared_bytes=factors + (size.gram_bytes if is_made else 0),
    )


def _is_known(rule: Rule, size: LayerSize) -> bool:
    """Whether the parts of a rule say what they take; scans, measured allocations and units do not."""
    if (
        rule.is_scanned
        or not rule.granularity.takes_select
        or (rule.allocation is not None and rule.allocation.statistics)
    ):
        return False
    parts = (rule.score if rule.score.eliminates else None, rule.swaps, rule.update)
    return all(part is None or part.working_bytes(size) > 0 for part in parts)


def _is_reordered(rule: Rule, parameter: PlannedParameter) -> bool:
    """Whether columns are put in another order, in which groups of N:M are consecutive."""
    if not isinstance(rule.granularity, NOfM) or not (rule.score.eliminates or rule.swaps is not None):
        return False
    return rule.granularity.order_of(parameter) is not None


def _reordered_bytes(size: LayerSize) -> int:
    """Return the bytes of a Gram matrix, a weight and its masks in another order."""
    return size.gram_bytes + size.entries * (size.itemsize + 2)


def _is_freed(part: UsesStatistics, rule: Rule) -> bool:
    """Whether what a part computes from the statistics is freed before the rule's update."""
    return part is rule.score and rule.update is not None and rule.update.takes_over_elimination


def _rule_bytes(rule: Rule, size: LayerSize) -> int:
    """Return the bytes of a rule's parts, one after the other; what an elimination leaves is kept for the update."""
    factors = rule.score.shared_bytes(size) if _is_freed(rule.score, rule) else 0
    left = size.entries * size.itemsize if rule.score.eliminates and rule.update is not None else 0
    found = [factors + rule.score.working_bytes(size)]
    if rule.swaps is not None:
        found.append(factors + left + rule.swaps.working_bytes(size))
    if rule.update is not None:
        left = 0 if rule.update.takes_over_elimination else left
        others = factors // max(1, size.matrices) * max(0, size.matrices - 1)
        found.append(others + left + rule.update.working_bytes(size))
    return max(found)
