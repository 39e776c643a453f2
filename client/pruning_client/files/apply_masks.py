"""A file of masks applied to a file of weights: the file that output "pruned" would have given, without a server.

In memory are a few pieces of the model, and the mask of one tensor. `masks` does the same to tensors of a caller.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import prod
from os import PathLike
from typing import Any

from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.checkpoints.file import FileSource
from pruning_client.errors import layout_error, unchangeable_error
from pruning_client.masks.bits import keep_marked, kept
from pruning_client.masks.masks import check_fits, mask_entries, missing_error, read_whole, twice_error
from pruning_proto.names import MASK, ORIG
from pruning_proto.packed.format import check_not_packed
from pruning_proto.safetensors.dtypes import DTYPE_BITS, WITHOUT_ZERO
from pruning_proto.safetensors.header import LayoutError, TensorEntry, build


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What masks did: to how many tensors, how many entries these have, and how many of them are not kept."""

    tensors: int
    entries: int
    pruned: int

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON can hold it."""
        return asdict(self)


def apply_file(model: str | PathLike[str], masks: str | PathLike[str], out: str | PathLike[str]) -> Applied:
    """Write a model pruned by masks, whole or not at all; `out` may be `model`. Names match as in `Masks.apply_to`.

    Raises: OSError. CheckpointError if a file is not sound, or `masks` holds something else. MismatchError if a mask's
    tensor is not there, has two masks or another number of entries, or cannot be pruned. In all cases `out` is as it
    was.
    """
    source, bits = FileSource(model), FileSource(masks)
    _check_dense(source)
    put_on = _matched(source, bits)
    tensors = [(entry.name, entry.dtype, entry.shape) for entry in source.layout.tensors]
    header, _ = build(tensors, {**source.layout.metadata, **bits.layout.metadata})
    pruned = 0
    with replacing(out) as file:
        file.write(header)
        for entry in source.layout.tensors:
            mask = read_whole(bits, put_on[entry.name]) if entry.name in put_on else None
            pruned += 0 if mask is None else prod(entry.shape) - kept(mask, prod(entry.shape))
            for piece in _pieces(source, entry, mask):
                file.write(piece)
    entries = sum(prod(entry.shape) for entry in source.layout.tensors if entry.name in put_on)
    return Applied(tensors=len(put_on), entries=entries, pruned=pruned)


def _check_dense(source: FileSource) -> None:
    try:
        check_not_packed(source.layout.metadata)
    except LayoutError as error:
        raise layout_error(error, source.path) from error


def _matched(source: FileSource, bits: FileSource) -> dict[str, TensorEntry]:
    """Give the mask of each tensor that has one. Raises: CheckpointError, MismatchError."""
    there = {entry.name: entry for entry in source.layout.tensors}
    put_on = {}
    for name, mask in mask_entries(bits.layout, bits.path):
        place = _place(name, there)
        check_fits(place.name, mask.end - mask.begin, None, place.shape)
        if DTYPE_BITS[place.dtype] % 8 or place.dtype == WITHOUT_ZERO:
            raise unchangeable_error(place.name, f"{place.dtype} has no zero of whole bytes")
        if place.name in put_on:
            raise twice_error(place.name)
        put_on[place.name] = mask
    return put_on


def _place(name: str, there: Mapping[str, TensorEntry]) -> TensorEntry:
    """Give what a parameter's mask is put on: itself, or in torch's pruned form its `w_mask`."""
    if name in there:
        return there[name]
    if name + ORIG in there and name + MASK in there:
        return there[name + MASK]
    raise missing_error(name, there)


def _pieces(source: FileSource, entry: TensorEntry, mask: memoryview | None) -> Iterator[bytes | memoryview]:
    width = DTYPE_BITS[entry.dtype] // 8
    begin = 0
    for piece in source.read(entry.begin, entry.end):
        if mask is None:
            yield piece
        else:
            yield keep_marked(piece, mask[begin // (8 * width) :], width)  # pieces are whole bytes of the mask
        begin += len(piece)
