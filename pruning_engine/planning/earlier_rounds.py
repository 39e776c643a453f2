"""Which parameters earlier rounds pruned, by the recipes that a checkpoint's history has.

Results of output format PRUNED contain no mask. With this, rules know that zeros there are pruned weights.
"""

from collections.abc import Iterable, Sequence

from pruning_engine.checkpoints.parameters import Parameters
from pruning_engine.errors import PruningError
from pruning_engine.granularities.units import Units
from pruning_engine.planning.selectors.name_patterns import compile_selector
from pruning_engine.planning.units.group_resolution import find_groups
from pruning_engine.recipe import Identity, Recipe, Selector
from pruning_engine.runtime.yield_points import with_yields
from pruning_proto.names import MASK_BITS

_NAMES_BETWEEN_YIELDS = 256


def pruned_earlier(history: Sequence[Recipe], parameters: Parameters) -> frozenset[str]:
    """Return the parameters that rules of earlier rounds selected, without those whose mask says what was pruned.

    What no longer fits the checkpoint counts for nothing: an earlier round may have seen other names or shapes. One
    selector is compiled at a time, and released before the next.
    """
    rules = [rule for recipe in history for rule in recipe.rules if not isinstance(rule.score, Identity)]
    selectors = dict.fromkeys(rule.select for rule in rules if rule.granularity.takes_select)
    units = dict.fromkeys(rule.granularity for rule in rules if isinstance(rule.granularity, Units))
    found: set[str] = set()
    for selector in selectors:
        found.update(_selected(selector, parameters))
    for granularity in units:
        found.update(_coupled(granularity, parameters))
    return frozenset(name for name in found if not _has_mask(name, parameters))


def _selected(selector: Selector, parameters: Parameters) -> Iterable[str]:
    try:
        choice = compile_selector(selector, "history")
        weights = with_yields(parameters.weights.items(), _NAMES_BETWEEN_YIELDS)
        return [
            name
            for name, weight in weights
            if choice.refuses(parameters.names(name), weight.dtype, len(weight.shape)) is None
        ]
    except PruningError:
        return ()


def _coupled(units: Units, parameters: Parameters) -> Iterable[str]:
    try:
        groups = find_groups(units, parameters, "history")
    except PruningError:
        return ()
    return [tie.parameter for group in groups for tie in group.ties if tie.is_zeroed]


def _has_mask(name: str, parameters: Parameters) -> bool:
    return name in parameters.pair_masks or MASK_BITS in parameters.auxiliary.get(name, {})
