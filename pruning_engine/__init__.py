"""Prunes plain state dicts: everything torch.nn.utils.prune does, exactly, fast, and in little memory.

A map of the room, from the story down:

    prune.py                     the story on one page: prune_state_dict, and Pruning for parameters in a stream
    plan.py, plan_checks.py      what will be done and what is refused, from names, dtypes and shapes alone
    parameters.py, ties.py       which tensors stand together for one parameter
    selectors.py                 which parameters a rule acts on
    schedule.py, holding.py      when rules can run; how many bytes that holds
    work.py, ranking.py          one parameter under way; one rule at work
    selection.py                 the exact k least important entries
    scores.py, random_scores.py  importance as integer keys
    norms.py, channels.py        importance of channels
    backend.py                   what is asked of the machine; numpy_*.py and torch_*.py give it
    serialization.py             safetensors files, without a copy
    recipe.py, report.py, errors.py, dtypes.py, threads.py
                                 what is asked, what was done, what may go wrong

The words of a recipe (scores, amounts, granularities) are imported from `pruning_engine.recipe`. The engine knows
no network. Imports point down that list only.
"""

from pruning_engine.errors import CheckpointError, MismatchError, PruningError, Reason, RecipeError
from pruning_engine.prune import PruneResult, prune_state_dict, prune_state_dict_
from pruning_engine.recipe import OutputForm, Recipe, Rule
from pruning_engine.report import Report, TensorReport
from pruning_engine.threads import get_threads, set_threads

__all__ = [
    "CheckpointError",
    "MismatchError",
    "OutputForm",
    "PruneResult",
    "PruningError",
    "Reason",
    "Recipe",
    "RecipeError",
    "Report",
    "Rule",
    "TensorReport",
    "get_threads",
    "prune_state_dict",
    "prune_state_dict_",
    "set_threads",
]
