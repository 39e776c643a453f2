"""A safetensors file split into shards and their index, as transformers reads them."""

import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, Final

from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.checkpoints.file import FileSource, Part
from pruning_client.checkpoints.packed import chunks_of
from pruning_proto.names import ORIG
from pruning_proto.safetensors.alignment import aligned
from pruning_proto.safetensors.header import TensorEntry, build

_TOTALS: Final = ("total_size", "total_parameters")


def shards_by_size(path: Path, most_bytes: int) -> dict[str, str]:
    """Return the shard of each tensor so that none has more than `most_bytes`, unless a single tensor has.

    The names are those of transformers; there is one name if a single file is enough.
    """
    entries = FileSource(path).layout.tensors
    number, filled = 0, 0
    numbers: dict[str, int] = {}
    for entry in entries:
        nbytes = entry.end - entry.begin
        if numbers and filled + nbytes > most_bytes:
            number, filled = number + 1, 0
        numbers[entry.name] = number
        filled += nbytes
    return {name: _name(at, number + 1) for name, at in numbers.items()}


def with_usual_names(shard_of: Mapping[str, str]) -> dict[str, str]:
    """Return the same split with the names that transformers gives to shards, in the order of the names."""
    names = sorted(set(shard_of.values()))
    usual = {name: _name(at, len(names)) for at, name in enumerate(names)}
    return {tensor: usual[name] for tensor, name in shard_of.items()}


def _name(position: int, count: int) -> str:
    return f"model-{position + 1:05}-of-{count:05}.safetensors"


def split_file(path: Path, index: Path, shard_of: Mapping[str, str], metadata: Mapping[str, Any]) -> None:
    """Replace a file by shards in its folder, and write their index last. Cost: the file's size on disk, once more.

    `shard_of` names the shard of each tensor; `w_orig` counts for `w`. `metadata` is the index's, but for its totals.
    Raises: OSError.
    """
    source = FileSource(path)
    shards: dict[str, list[TensorEntry]] = {name: [] for name in shard_of.values()}
    for entry in source.layout.tensors:
        shards[shard_of.get(entry.name) or shard_of[entry.name + ORIG]].append(entry)
    with source.reading() as part:
        for name, entries in shards.items():
            _write(source, aligned(entries), part, path.parent / name)
    weight_map = {entry.name: name for name, entries in shards.items() for entry in entries}
    text = json.dumps({"metadata": _totals(metadata, source.layout.tensors), "weight_map": weight_map}, indent=2)
    path.unlink()
    with replacing(index) as file:
        file.write(f"{text}\n".encode())


def _write(source: FileSource, entries: Sequence[TensorEntry], part: Part, target: Path) -> None:
    header, _ = build([(entry.name, entry.dtype, entry.shape) for entry in entries], source.layout.metadata)
    with replacing(target) as file:
        file.write(header)
        for entry in entries:
            for piece in chunks_of(entry, part):
                file.write(piece)


def _totals(metadata: Mapping[str, Any], entries: Sequence[TensorEntry]) -> dict[str, Any]:
    totals = {"total_size": sum(entry.end - entry.begin for entry in entries)}
    if "total_parameters" in metadata:
        totals["total_parameters"] = sum(prod(entry.shape) for entry in entries)
    return {**{key: value for key, value in metadata.items() if key not in _TOTALS}, **totals}
