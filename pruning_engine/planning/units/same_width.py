"""Groups that compete for an amount, and keep the same number of units all the same."""

from collections import Counter
from collections.abc import Iterator

from pruning_engine.granularities.units import Units
from pruning_engine.planning.stages import Groups
from pruning_engine.recipe import Recipe, Scope
from pruning_engine.report import ModelWarning, WarningKind


def same_width_warnings(recipe: Recipe, groups: Groups) -> Iterator[ModelWarning]:
    """Yield one warning for each rule of global scope whose groups share a number in config.json."""
    for position, found in groups.items():
        rule = recipe.rules[position]
        if rule.scope is not Scope.GLOBAL or not isinstance(rule.granularity, Units) or rule.granularity.same_width:
            continue
        sharing = Counter(group.width_key for group in found if group.width_key is not None and group.config)
        if any(count > 1 for count in sharing.values()):
            fields = sorted({field for group in found for field in group.config})
            yield ModelWarning(
                kind=WarningKind.SAME_WIDTH,
                tensor=None,
                message=f"rules[{position}]: groups compete, but {' and '.join(fields)} of config.json counts the "
                "units of all, so that each keeps as many as the one that keeps most; use local scope, or own_widths "
                "where config.json has a number for each layer",
            )
