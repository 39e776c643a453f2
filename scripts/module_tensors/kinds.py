"""The tensors of a module, and of what kind each is by the class of the module that owns it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

LEAST_DIMS: Final = 2

_EMBEDDINGS: Final = (nn.Embedding, nn.EmbeddingBag)
_NORMS: Final = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)
_LAYERS: Final = (
    *(nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd),
    *(nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention),
)
_LAYER_CLASSES: Final = re.compile(r"Linear|Conv[123]d|Conv1D")
_ROUTER_CLASSES: Final = re.compile(r"Router|TopK(?!Gate)|TopKGating")
_GATES: Final = re.compile(r"(^|\.)(gate|shared_expert_gate)\.weight$")
_HEADS: Final = re.compile(r"(^|[._])lm_heads?(\.\d+)?\.weight$|(predictions|_head)\.decoder\.weight$")
_NO_MATRICES: Final = ("weight_g", "original0", "weight_integer")


@dataclass(frozen=True, slots=True)
class ModuleTensor:
    """A tensor: its names in the module and on disk, its dims, its kind, and the class of its module."""

    names: tuple[str, ...]
    dims: int
    kind: str
    owner: str


def module_tensors(model: nn.Module) -> Iterator[ModuleTensor]:
    """Return the floating point tensors of 2 dims or more."""
    modules = dict(model.named_modules())
    head, on_disk = _output_head(model), _names_on_disk(model)
    for name, value in model.state_dict(keep_vars=True).items():
        path = re.sub(r"(^|\.)parametrizations\.\w+$", "", name.rpartition(".")[0])
        module, parent = modules.get(path), modules.get(path.rpartition(".")[0])
        if module is not None and value.dim() >= LEAST_DIMS and value.is_floating_point():
            kind = "head" if module is head else _kind(name, module, parent)
            names = tuple(dict.fromkeys((name, *on_disk(name, value))))
            yield ModuleTensor(names, value.dim(), kind, type(module).__name__)


def _kind(name: str, module: nn.Module, parent: nn.Module | None) -> str:
    """Return layer, experts, embedding, norm, router or head; or other, for what is none of these, and biases."""
    own = name.rpartition(".")[2]
    is_matrix = ("weight" in own or own == "original1") and "bias" not in own and own not in _NO_MATRICES
    if _is_router(name, module, parent):
        return "router"
    if isinstance(module, nn.Linear) and _HEADS.search(name):
        return "head"
    if "Experts" in type(module).__name__ and "bias" not in own:
        return "experts"
    return _kind_of_class(module) if is_matrix else "other"


def _kind_of_class(module: nn.Module) -> str:
    owner = type(module).__name__
    if isinstance(module, _EMBEDDINGS) or "Embedding" in owner:
        return "embedding"
    if isinstance(module, _NORMS) or re.search(r"Norm|GRN", owner):
        return "norm"
    return "layer" if isinstance(module, _LAYERS) or _LAYER_CLASSES.search(owner) else "other"


def _is_router(name: str, module: nn.Module, parent: nn.Module | None) -> bool:
    above = type(parent).__name__
    if _ROUTER_CLASSES.search(type(module).__name__ + above):
        return True
    is_gate = "router" in name or (_GATES.search(name) is not None and re.search(r"Mo[eE]|Sparse", above) is not None)
    return isinstance(module, nn.Linear) and is_gate


def _output_head(model: Any) -> nn.Module | None:
    try:
        return model.get_output_embeddings()  # type: ignore[no-any-return]
    except (AttributeError, NotImplementedError, TypeError):
        return None


def _names_on_disk(model: Any) -> Callable[[str, torch.Tensor], list[str]]:
    """Return what finds the names under which transformers writes a tensor, where they differ."""
    if not hasattr(model, "_weight_conversions") and not hasattr(model, "base_model_prefix"):
        return lambda _, __: []
    from transformers.conversion_mapping import get_model_conversion_mapping  # noqa: PLC0415
    from transformers.core_model_loading import PrefixChange, revert_weight_conversion  # noqa: PLC0415

    try:
        found = get_model_conversion_mapping(model, add_legacy=False)
    except (AttributeError, KeyError, TypeError):
        return lambda _, __: []
    conversions = [each for each in found if not isinstance(each, PrefixChange)]
    model._weight_conversions = conversions or None

    def names(name: str, value: torch.Tensor) -> list[str]:
        try:
            return list(revert_weight_conversion(model, {name: value.detach()})) if conversions else []
        except Exception:  # noqa: BLE001 - some conversions need several tensors at once
            return []

    return names
