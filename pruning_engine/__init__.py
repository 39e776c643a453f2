"""Everything torch.nn.utils.prune does, exactly, fast, and in little memory: on state dicts, modules and tensors.

`import pruning_engine as prune` instead of torch's module: the same names, and `prune_state_dict` beside them. The
scores, amounts and granularities of a recipe are imported from `pruning_engine.recipe`.

    recipe          what is asked for
    checkpoints     which tensors make up one parameter
    runtime         threads and yield points
    kernels         arithmetic over one flat tensor, on the CPU and on a GPU
    selection       the exact k least entries or channels
    scores          by what importance: one file per score
    granularities   in which pieces: one file per granularity
    planning        what will be done, from names, dtypes and shapes alone
    execution       a plan carried out, on buffers or on a state dict
    modules         the interface of torch.nn.utils.prune

This import does not import torch: the names that need it load when they are first used.
"""

from typing import TYPE_CHECKING

from pruning_engine.errors import CheckpointError, MismatchError, PruningError, Reason, RecipeError
from pruning_engine.kernels.compiled.library import get_kernels, set_kernels
from pruning_engine.planning.options import PlanOptions
from pruning_engine.recipe import OutputForm, Recipe, Rule
from pruning_engine.report import GroupReport, ModelTotals, ModelWarning, Report, TensorReport, WarningKind
from pruning_engine.runtime.threads import get_threads, set_threads

if TYPE_CHECKING:
    from pruning_engine.execution.state_dict import PruneResult, prune_state_dict, prune_state_dict_
    from pruning_engine.modules import (
        BasePruningMethod,
        CustomFromMask,
        Identity,
        L1Unstructured,
        LnStructured,
        PruningContainer,
        RandomStructured,
        RandomUnstructured,
        _compute_nparams_toprune,
        _validate_pruning_amount,
        _validate_pruning_amount_init,
        _validate_pruning_dim,
        _validate_structured_pruning,
        custom_from_mask,
        global_unstructured,
        hold_masks,
        identity,
        is_pruned,
        l1_unstructured,
        ln_structured,
        random_structured,
        random_unstructured,
        remove,
    )

__all__ = [
    "BasePruningMethod",
    "CheckpointError",
    "CustomFromMask",
    "GroupReport",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "MismatchError",
    "ModelTotals",
    "ModelWarning",
    "OutputForm",
    "PlanOptions",
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
    "WarningKind",
    "_compute_nparams_toprune",
    "_validate_pruning_amount",
    "_validate_pruning_amount_init",
    "_validate_pruning_dim",
    "_validate_structured_pruning",
    "custom_from_mask",
    "get_kernels",
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
    "set_kernels",
    "set_threads",
]


def __getattr__(name: str) -> object:
    """Load a name that needs torch (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pruning_engine import modules  # noqa: PLC0415 - imports torch
    from pruning_engine.execution import state_dict  # noqa: PLC0415 - imports torch

    value: object = getattr(state_dict if hasattr(state_dict, name) else modules, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
