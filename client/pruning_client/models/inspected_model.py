"""What `prune inspect` knows of a model: the zeros of its tensors, in one file or several, and what was done to it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from pruning_client.checkpoints.file import FileSource
from pruning_client.models.history import history_of
from pruning_client.models.inspect import TensorZeros, inspect_file
from pruning_client.models.model_files import model_files


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over tensors. `entries` and `zeros` are of those whose dtype has a zero; `bytes` is that of the files."""

    tensors: int
    entries: int
    zeros: int
    bytes: int

    @property
    def sparsity(self) -> float:
        """The fraction of the entries that are zero, 0.0 to 1.0."""
        return self.zeros / self.entries if self.entries else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self) | {"sparsity": self.sparsity}


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedModel:
    """A model in one file or several.

    `history` has one entry for each round of pruning, the oldest first: its recipe, whose rules are methods with
    arguments, and the version of the service. It is empty for a model that was never pruned by this one.
    """

    files: tuple[Path, ...]
    tensors: tuple[TensorZeros, ...]
    history: tuple[Mapping[str, Any], ...]
    totals: Totals

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {
            "files": [str(file) for file in self.files],
            "totals": self.totals.to_dict(),
            "history": list(self.history),
            "tensors": [tensor.to_dict() for tensor in self.tensors],
        }


def inspect_model(path: str | PathLike[str]) -> InspectedModel:
    """Count the zeros of a file, of the shards of an index, or of the weights in the folder of a model or pipeline.

    The tensors of a pipeline are named COMPONENT.NAME. Raises: OSError. CheckpointError.
    """
    parts = list(model_files(Path(path)))
    tensors = tuple(
        replace(tensor, name=prefix + tensor.name) for prefix, file in parts for tensor in inspect_file(file)
    )
    files = tuple(file for _, file in parts)
    layouts = [FileSource(file).layout for file in files]
    counted = [tensor for tensor in tensors if tensor.zeros is not None]
    return InspectedModel(
        files=files,
        tensors=tensors,
        history=next((rounds for layout in layouts if (rounds := history_of(layout.metadata))), ()),
        totals=Totals(
            tensors=len(tensors),
            entries=sum(tensor.entries for tensor in counted),
            zeros=sum(tensor.zeros or 0 for tensor in counted),
            bytes=sum(layout.total_bytes for layout in layouts),
        ),
    )
