"""torch models: their statistics, pruning block by block, the search for amounts, loading what was pruned.

`collect_statistics` runs a model and sums up its layers' inputs, `prune_sequentially` and `find_amount` prune it in
several calls, `load_pruned` loads the smaller tensors of output "removed" into a model, `load_packed` reads a packed
file, and `derive_groups` finds a module's coupled channels. State dicts of torch go to `Client.prune` as they are.
"""

import json
from collections.abc import Mapping
from os import PathLike
from typing import Any, Final, Protocol, TypeAlias

from torch import Tensor, nn

from pruning_client.checkpoints.compressed import read_packed
from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.packed import is_packed
from pruning_client.frameworks.names_on_disk import in_module
from pruning_client.frameworks.torch import tensor
from pruning_client.torch.channel_groups import DerivedGroups, derive_groups
from pruning_client.torch.collection.collect import collect_statistics
from pruning_client.torch.resizing import LoadedKeys, load
from pruning_client.torch.search.result import Evaluation, FoundAmounts
from pruning_client.torch.search.verbs import find_amount, find_amount_async, find_amounts, find_amounts_async
from pruning_client.torch.sequential.report import PrunedBlock, SequentialReport
from pruning_client.torch.sequential.verbs import prune_sequentially, prune_sequentially_async
from pruning_proto.safetensors.header import Layout, TensorEntry

__all__ = [
    "DerivedGroups",
    "Evaluation",
    "FoundAmounts",
    "LoadedKeys",
    "PrunedBlock",
    "SequentialReport",
    "collect_statistics",
    "derive_groups",
    "find_amount",
    "find_amount_async",
    "find_amounts",
    "find_amounts_async",
    "load_packed",
    "load_pruned",
    "prune_sequentially",
    "prune_sequentially_async",
]

_CONFIG: Final = "pruning.config.v1"
"""The key of a file's metadata with the sizes of its model; `PATH.groups` are those of a convolution."""


class _Result(Protocol):
    """The result of a client's `prune`."""

    layout: Layout

    def to_torch(self) -> dict[str, Any]:
        """Return the tensors as torch's."""


Loadable: TypeAlias = Mapping[str, Tensor] | _Result | str | PathLike[str]


def load_packed(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Return the tensors of a packed file as they were before packing; no pickle. They share one block of memory.

    Raises: OSError. CheckpointError if the file is not packed, or damaged. ImportError without numpy.
    Example:
        >>> client.prune({"fc.weight": np.ones((64, 64))}, rules.l1_unstructured(0.5), output="packed").save("packed")
        >>> pruning_client.torch.load_packed("packed")["fc.weight"].shape
        torch.Size([64, 64])
    """
    layout, buffer = read_packed(path)
    return {entry.name: tensor(entry, buffer[entry.begin : entry.end]) for entry in layout.tensors}


def load_pruned(
    model: nn.Module, source: Loadable, *, strict: bool = True, groups: Mapping[str, int] | None = None
) -> LoadedKeys:
    """Load a checkpoint whose channels were removed into a model that was built at its old size. No pickle.

    `source` is a state dict, a `Result` of output "removed", or the path of a safetensors file. Modules whose tensors
    have other shapes are resized first: Linear, Conv1d to Conv3d and their transposed forms (groups and depthwise too),
    BatchNorm, InstanceNorm, GroupNorm, LayerNorm, RMSNorm, PReLU, Embedding, LSTM, GRU, RNN and their cells, and
    transformers' Conv1D. Dtypes and devices stay the model's, and tied parameters stay tied.
    Names are the module's, or those that transformers gives the model's tensors in files. `groups` are those of
    convolutions and GroupNorms, by path, where shapes can be read in two ways; a depthwise one needs none. `strict`
    and the result are as of torch's `load_state_dict`. An optimizer holds the old parameters: create it afterwards.
    Raises: MismatchError, and the model is unchanged: for names that are missing or unexpected while `strict`, for
    a module of another type that would have to be resized, and for shapes that no such module can have. TypeError if
    `model` is not a module or `source` not a checkpoint; CheckpointError or OSError for a file.
    Example:
        >>> channels = rules.group(["0.weight:0", "0.bias:0", "2.weight:1"])
        >>> rule = rules.remove_units(rules.kept(4), groups=channels)
        >>> _ = load_pruned(model, client.prune(model.state_dict(), rule, output="removed"))
        >>> model[0].weight.shape
        torch.Size([4, 4])
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"tensors are loaded into a torch module, got {type(model).__name__}")
    tensors, metadata = _opened(source)
    renamed = in_module(tensors, model, model.state_dict())
    named = {renamed.get(name, name): tensor for name, tensor in tensors.items()}
    paths = {name.rpartition(".")[0]: other.rpartition(".")[0] for name, other in renamed.items()}
    known = _groups_in(metadata) | dict(groups or {})
    return load(model, named, {paths.get(path, path): count for path, count in known.items()}, strict)


def _opened(source: Loadable) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
    """Return the tensors of a checkpoint, and a file's metadata."""
    if isinstance(source, Mapping):
        return source, {}
    if isinstance(source, str | PathLike):
        file = FileSource(source)
        if is_packed(file.layout):
            return load_packed(source), file.layout.metadata
        return {entry.name: _read(file, entry) for entry in file.layout.tensors}, file.layout.metadata
    if not hasattr(source, "to_torch"):
        raise TypeError(f"expected a state dict, a result or the path of a file, got {type(source).__name__}")
    return source.to_torch(), source.layout.metadata


def _read(file: FileSource, entry: TensorEntry) -> Tensor:
    data = bytearray()
    for piece in file.read(entry.begin, entry.end):
        data += piece
    return tensor(entry, memoryview(data))


def _groups_in(metadata: Mapping[str, str]) -> dict[str, int]:
    """Return the groups of convolutions, by module, that a file's metadata states; other entries are ignored."""
    try:
        sizes = json.loads(metadata.get(_CONFIG, "{}"))
    except ValueError:
        return {}
    counts = sizes.items() if isinstance(sizes, dict) else ()
    return {
        name.removesuffix(".groups"): count
        for name, count in counts
        if name.endswith(".groups") and isinstance(count, int)
    }
