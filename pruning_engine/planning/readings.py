"""Which plans can be carried out on tensors that are read several times instead of held: see execution/readings."""

from collections.abc import Sequence

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


def _is_searched(rule: Rule) -> bool:
    score = rule.score
    competes_by_keys = score.ranks and score.compares_keys and not score.eliminates
    is_of_entries = rule.granularity.is_searched and rule.scope is Scope.GLOBAL
    return is_of_entries and competes_by_keys and rule.bounds is None and rule.allocation is None
