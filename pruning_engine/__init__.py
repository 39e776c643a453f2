"""Everything torch.nn.utils.prune does, exactly, fast, and in little memory: on state dicts, modules and tensors.

`import pruning_engine as prune` in place of torch's module: the same names, and `prune_state_dict` beside them.

A map of the room. The module face, in torch's words, from the story down:

    functional.py                l1_unstructured(module, name, amount) ... remove, is_pruned
    global_pruning.py            one amount shared out over many tensors
    hold_masks.py                keeps plain parameters pruned while they train
    entry_methods.py, channel_methods.py, mask_methods.py
                                 the methods: L1Unstructured ... CustomFromMask
    base_method.py               BasePruningMethod, PruningContainer
    survivors.py                 what a method is shown of a tensor that is pruned already
    module_state.py              how pruning is stored on a module
    mask_tensors.py, deep_copies.py, amounts.py, seeds.py, torch_errors.py
                                 its parts

The state-dict face, and the core that both stand on:

    prune.py                     the story on one page: prune_state_dict, and Pruning for parameters in a stream
    plan.py, plan_checks.py      what will be done and what is refused, from names, dtypes and shapes alone
    parameters.py, ties.py       which tensors stand together for one parameter
    selectors.py                 which parameters a rule acts on
    stages.py, schedule.py, holding.py
                                 where parameters wait for others; when rules can run; how many bytes that holds when
    work.py, ranked.py, ranking.py
                                 one parameter under way; one rule at work
    unit_ranking.py, unit_order.py, unit_scores.py
                                 a rule of units at work: how many and which fall; their order; their importance
    removal.py                   units taken out for good
    unit_groups.py, planned_units.py, group_maps.py, name_tree.py
                                 tied channels found among a checkpoint's parameters; built-in maps of them
    method_rule.py, plugins.py   rules whose score is a method that somebody installed beside the engine
    selection.py                 the exact k least important entries
    scores.py, random_scores.py  importance as integer keys
    norms.py, channels.py, channel_sums.py
                                 importance of channels
    backend.py, backends.py      what is asked of the machine, and who gives it: numpy_*.py or torch_*.py
    serialization.py, history.py safetensors files, without a copy; what their metadata tells
    threads.py, pauses.py, piece_buffers.py
                                 pieces of work: side by side, with pauses for others, in memory that is used again
    recipe.py, units.py, report.py, errors.py, dtypes.py
                                 what is asked, what was done, what may go wrong

The words of a recipe (scores, amounts, granularities) are imported from `pruning_engine.recipe`. The engine knows
no network. No import runs in a circle: a test holds it.
"""

from pruning_engine.errors import CheckpointError, MismatchError, PruningError, Reason, RecipeError
from pruning_engine.execution.prune import PruneResult, prune_state_dict, prune_state_dict_
from pruning_engine.modules.amounts import compute_nparams_toprune as _compute_nparams_toprune
from pruning_engine.modules.amounts import validate_pruning_amount as _validate_pruning_amount
from pruning_engine.modules.amounts import validate_pruning_amount_init as _validate_pruning_amount_init
from pruning_engine.modules.amounts import validate_pruning_dim as _validate_pruning_dim
from pruning_engine.modules.amounts import validate_structured_pruning as _validate_structured_pruning
from pruning_engine.modules.base_method import BasePruningMethod, PruningContainer
from pruning_engine.modules.channel_methods import LnStructured, RandomStructured
from pruning_engine.modules.entry_methods import L1Unstructured, RandomUnstructured
from pruning_engine.modules.functional import (
    custom_from_mask,
    identity,
    is_pruned,
    l1_unstructured,
    ln_structured,
    random_structured,
    random_unstructured,
    remove,
)
from pruning_engine.modules.global_unstructured import global_unstructured
from pruning_engine.modules.hold_masks import hold_masks
from pruning_engine.modules.mask_methods import CustomFromMask, Identity
from pruning_engine.recipe import OutputForm, Recipe, Rule
from pruning_engine.report import GroupReport, Report, TensorReport
from pruning_engine.runtime.threads import get_threads, set_threads

__all__ = [
    "BasePruningMethod",
    "CheckpointError",
    "CustomFromMask",
    "GroupReport",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "MismatchError",
    "OutputForm",
    "PruneResult",
    "PruningContainer",
    "PruningError",
    "RandomStructured",
    "RandomUnstructured",
    "Reason",
    "Recipe",
    "RecipeError",
    "Report",
    "Rule",
    "TensorReport",
    "_compute_nparams_toprune",
    "_validate_pruning_amount",
    "_validate_pruning_amount_init",
    "_validate_pruning_dim",
    "_validate_structured_pruning",
    "custom_from_mask",
    "get_threads",
    "global_unstructured",
    "hold_masks",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "prune_state_dict",
    "prune_state_dict_",
    "random_structured",
    "random_unstructured",
    "remove",
    "set_threads",
]
