"""The interface of `torch.nn.utils.prune`, on modules, as `pruning_engine` offers it."""

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

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "_compute_nparams_toprune",
    "_validate_pruning_amount",
    "_validate_pruning_amount_init",
    "_validate_pruning_dim",
    "_validate_structured_pruning",
    "custom_from_mask",
    "global_unstructured",
    "hold_masks",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]
