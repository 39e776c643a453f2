"""Which plans can be carried out on parameters that are read several times instead of held: see execution/readings."""

from pruning_engine.planning.plan import Plan
from pruning_engine.planning.stages import Stage
from pruning_engine.recipe import OutputForm, Recipe, Scope


def searched_stages(plan: Plan) -> tuple[int, ...]:
    """Return the stages whose cuts would be searched in readings, in order; none if the plan must hold its parameters.

    That is where entries of several tensors compete by their keys alone: not within bounds of each tensor's sparsity,
    not by LAMP, whose scores depend on the whole tensor, and not as channels, units or blocks.
    """
    if plan.output is OutputForm.SCAN:
        return ()
    barriers = [number for number, stage in enumerate(plan.stages) if stage.is_barrier]
    return tuple(barriers) if all(_is_searched(plan.recipe, plan.stages[number]) for number in barriers) else ()


def _is_searched(recipe: Recipe, stage: Stage) -> bool:
    rule = recipe.rules[stage.rule]
    competes_by_keys = rule.score.ranks and rule.score.compares_keys and not rule.score.eliminates
    is_of_entries = rule.granularity.is_searched and rule.scope is Scope.GLOBAL
    return is_of_entries and competes_by_keys and rule.bounds is None and rule.allocation is None and stage.bias is None
