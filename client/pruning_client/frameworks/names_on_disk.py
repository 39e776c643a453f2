"""The names that a transformers model's tensors have in its files, where they differ from those of the module.

Since version 5, transformers renames the tensors of some models while it loads and saves them: a ViT's
`vit.layers.0.mlp.fc1.weight` is `vit.encoder.layer.0.intermediate.dense.weight` in its file, as in earlier versions.
transformers is asked, and is never imported here: a model of it has imported it.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pruning_proto.names import ORIG

if TYPE_CHECKING:
    from torch import nn


def names_on_disk(model: "nn.Module") -> dict[str, str | None]:
    """Return the name in a file for each name of the module's state dict that differs; empty for other models.

    None: the tensor is not in a file as it is, because it is split or merged while it is saved.
    """
    modeling = sys.modules.get("transformers.modeling_utils")
    loading = sys.modules.get("transformers.core_model_loading")  # of transformers 5
    revert = getattr(loading, "revert_weight_conversion", None)
    if modeling is None or revert is None or not isinstance(model, modeling.PreTrainedModel):
        return {}
    state = {name: tensor.detach().to("meta") for name, tensor in model.state_dict().items()}
    saved = {id(tensor): name for name, tensor in revert(model, dict(state)).items()}
    names = {name: saved.get(id(tensor)) for name, tensor in state.items()}
    return {name: other for name, other in names.items() if other != name}


def in_module(names: Iterable[str], model: "nn.Module", current: Mapping[str, object]) -> dict[str, str]:
    """Return the module's names of those of these that are names of its file, and not among `current`.

    Of torch's pairs (`w_orig`, `w_mask`) the name is that of `w`.
    """
    given = set(names)
    if given <= current.keys():
        return {}
    renamed = {}
    for name, other in names_on_disk(model).items():
        if other in given and name not in given:
            renamed[other] = name
        elif other is not None and other.endswith(ORIG) and other.removesuffix(ORIG) in given:
            renamed[other.removesuffix(ORIG)] = name.removesuffix(ORIG)
    return {other: name for other, name in renamed.items() if other not in current}
