"""The files of a folder's new weights: those of the source under their usual names, or others of a given size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruning_client.checkpoints.pipeline import Component
from pruning_client.checkpoints.shards import is_index, read_index
from pruning_client.checkpoints.split import Place, shards_by_size, write_index
from pruning_client.checkpoints.weight_files import WeightNames, names_of
from pruning_proto.names import ORIG
from pruning_proto.safetensors.header import Layout, TensorEntry


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """Where the tensors of a result go in a copy of the folder `source`, and the indices beside them.

    Shards stay shards, with the same tensors in each; those without any that is left are dropped. With
    `max_shard_bytes` they are made anew, of at most this size.
    """

    source: Path
    components: Sequence[Component]
    max_shard_bytes: int | None = None

    @property
    def only_file(self) -> str | None:
        """The file, as a path in the folder, if its bytes are the result's; None if there are several, or may be."""
        (first, *others) = self.components
        if others or first.name or is_index(first.weights) or self.max_shard_bytes is not None:
            return None
        return first.weights.relative_to(self.source).as_posix()

    def write_indices(self, folder: Path, contents: Mapping[str, Sequence[TensorEntry]]) -> None:
        """Write the index of each component in several files. Raises: OSError."""
        for component in self.components:
            names, parent = _names(component), component.weights.parent.relative_to(self.source)
            files = {
                Path(file).name: entries
                for file, entries in contents.items()
                if Path(file).parent == parent and Path(file).name != names.file
            }
            if files:
                write_index(folder / parent, names, files, _index_metadata(component))

    def places(self, layout: Layout, original: Mapping[str, str]) -> dict[str, Place]:
        """Return the place of each tensor of a result: see `split.Places`."""
        return {
            name: place for each in self.components for name, place in self._places_of(each, layout, original).items()
        }

    def _places_of(self, component: Component, layout: Layout, original: Mapping[str, str]) -> dict[str, Place]:
        """Return the places of a component's tensors, by their names in the result."""
        entries = [entry for entry in layout.tensors if entry.name.startswith(component.prefix)]
        names, shards = _names(component), self._shards(component, entries, original)
        count = max(shards.values(), default=-1) + 1
        parent = component.weights.parent.relative_to(self.source)
        files = [(parent / name).as_posix() for name in [names.shard(at, count) for at in range(count)] or [names.file]]
        return {
            entry.name: Place(files[shards.get(entry.name, 0)], entry.name.removeprefix(component.prefix))
            for entry in entries
        }

    def _shards(
        self, component: Component, entries: Sequence[TensorEntry], original: Mapping[str, str]
    ) -> dict[str, int]:
        """Return the number of the shard of each tensor; nothing if a single file is enough."""
        if self.max_shard_bytes is not None:
            shards = shards_by_size(entries, self.max_shard_bytes)
            return shards if max(shards.values(), default=0) else {}
        if not is_index(component.weights):
            return {}
        file_of, _ = read_index(component.weights)
        first = min(file_of.values())
        source = {component.prefix + name: file for name, file in file_of.items()}
        names = {entry.name: original.get(entry.name, entry.name) for entry in entries}
        files = {name: source.get(old, source.get(old + ORIG, first)) for name, old in names.items()}
        numbers = {file: at for at, file in enumerate(sorted(set(files.values())))}
        return {name: numbers[file] for name, file in files.items()}


def _names(component: Component) -> WeightNames:
    return names_of(component.weights) or WeightNames()


def _index_metadata(component: Component) -> dict[str, Any]:
    return read_index(component.weights)[1] if is_index(component.weights) else {}
