"""Which plans can be carried out on tensors that are read several times instead of held: see execution/readings."""

from collections.abc import Sequence

from pruning_engine.planning.plan import Plan
from pruning_engine.planning.stages import Stage
from pruning_engine.recipe import OutputForm, Recipe, Rule, Scope


def searched_stages(recipe: Recipe, stages: Sequence[Stage], output: OutputForm) -> tuple[int, ...]:
    """Return the stages whose cuts would be searched in readings, in order; none if parameters must wait.

    That is where entries of several tensors compete by their keys alone: not within bounds of each tensor's sparsity,
    not by LAMP, whose scores depend on the whole tensor, and not as channels, units or blocks.
    """
    barriers = [number for number, stage in enumerate(stages) if stage.is_barrier]
    if output is OutputForm.SCAN or any(stages[number].bias is not None for number in barriers):
        return ()
    return tuple(barriers) if all(_is_searched(recipe.rules[stages[number].rule]) for number in barriers) else ()


def searchable(plan: Plan) -> tuple[int, ...]:
    """Return the stages whose cuts can be searched, in order, whatever other stages parameters wait at.

    Before such a stage each of its parameters must pass no other one at which it waits.
    """
    if plan.output is OutputForm.SCAN:
        return ()
    found: list[int] = []
    chains = {parameter.stages for parameter in plan.parameters}
    for number, stage in enumerate(plan.stages):
        if not stage.is_barrier or stage.bias is not None or stage.groups:
            continue
        earlier = {each for chain in chains if number in chain for each in chain if each < number}
        is_free = not any(plan.stages[each].is_barrier and each not in found for each in earlier)
        if is_free and _is_searched(plan.recipe.rules[stage.rule]):
            found.append(number)
    return tuple(found)


def _is_searched(rule: Rule) -> bool:
    score = rule.score
    competes_by_keys = score.ranks and score.compares_keys and not score.eliminates
    is_of_entries = rule.granularity.is_searched and rule.scope is Scope.GLOBAL
    return is_of_entries and competes_by_keys and rule.bounds is None and rule.allocation is None
