"""A file of masks applied to a file of weights, without a server: the result is the file of output "pruned".

In memory are a few pieces of the model, and the mask of one tensor. `masks` applies masks to a caller's own tensors.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from os import PathLike
from typing import Any

from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.checkpoints.file import FileSource
from pruning_client.errors import layout_error, unchangeable_error
from pruning_client.masks.bits import keep_marked, kept
from pruning_client.masks.masks import check_fits, mask_entries, missing_error, read_whole, twice_error
from pruning_client.results.model_warning import ModelWarning, emptied
from pruning_proto.names import MASK, ORIG
from pruning_proto.packed.format import check_not_packed
from pruning_proto.safetensors.alignment import aligned
from pruning_proto.safetensors.dtypes import DTYPE_BITS, WITHOUT_ZERO
from pruning_proto.safetensors.header import LayoutError, TensorEntry, build


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The number of tensors that have masks, of their entries, and of the entries that were pruned.

    `model_entries`: of all tensors of the model, those without masks included.
    """

    tensors: int
    entries: int
    pruned: int
    model_entries: int
    warnings: tuple[ModelWarning, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self)


def apply_file(model: str | PathLike[str], masks: str | PathLike[str], out: str | PathLike[str]) -> Applied:
    """Write a model pruned by masks, whole or not at all; `out` may be `model`. Names match as in `Masks.apply_to`.

    Raises: OSError. CheckpointError if a file is not valid, or `masks` holds other tensors. MismatchError if a mask's
    tensor is missing, has two masks or another number of entries, or cannot be pruned. In all cases `out` is unchanged.
    """
    source, bits = FileSource(model), FileSource(masks)
    source.check_not_sharded()
    _check_dense(source)
    mask_of = _matched(source, bits)
    entries = aligned(source.layout.tensors)
    tensors = [(entry.name, entry.dtype, entry.shape) for entry in entries]
    header, _ = build(tensors, {**source.layout.metadata, **bits.layout.metadata})
    pruned: dict[str, int] = {}
    with replacing(out) as file:
        file.write(header)
        for entry in entries:
            mask = read_whole(bits, mask_of[entry.name]) if entry.name in mask_of else None
            if mask is not None:
                pruned[entry.name] = prod(entry.shape) - kept(mask, prod(entry.shape))
            for piece in _pieces(source, entry, mask):
                file.write(piece)
    return _applied(entries, pruned)


def _applied(entries: Sequence[TensorEntry], pruned: Mapping[str, int]) -> Applied:
    sizes = {entry.name: prod(entry.shape) for entry in entries}
    masks_of_pairs = {name for name in sizes if name.endswith(MASK) and name.removesuffix(MASK) + ORIG in sizes}
    logical = {name: name.removesuffix(MASK) if name in masks_of_pairs else name for name in pruned}
    warnings = (emptied(logical[name], sizes[name], count) for name, count in pruned.items())
    return Applied(
        tensors=len(pruned),
        entries=sum(sizes[name] for name in pruned),
        pruned=sum(pruned.values()),
        model_entries=sum(size for name, size in sizes.items() if name not in masks_of_pairs),
        warnings=tuple(warning for warning in warnings if warning is not None),
    )


def _check_dense(source: FileSource) -> None:
    try:
        check_not_packed(source.layout.metadata)
    except LayoutError as error:
        raise layout_error(error, source.path) from error


def _matched(source: FileSource, bits: FileSource) -> dict[str, TensorEntry]:
    """Return the mask of each tensor that has one. Raises: CheckpointError, MismatchError."""
    tensors = {entry.name: entry for entry in source.layout.tensors}
    mask_of = {}
    for name, mask in mask_entries(bits.layout, bits.path):
        target = _target(name, tensors)
        check_fits(target.name, mask.end - mask.begin, None, target.shape)
        if DTYPE_BITS[target.dtype] % 8 or target.dtype == WITHOUT_ZERO:
            raise unchangeable_error(target.name, f"{target.dtype} has no zero of whole bytes")
        if target.name in mask_of:
            raise twice_error(target.name)
        mask_of[target.name] = mask
    return mask_of


def _target(name: str, tensors: Mapping[str, TensorEntry]) -> TensorEntry:
    """Return the tensor that a parameter's mask is applied to: the parameter, or `w_mask` if it is stored as a pair."""
    if name in tensors:
        return tensors[name]
    if name + ORIG in tensors and name + MASK in tensors:
        return tensors[name + MASK]
    raise missing_error(name, tensors)


def _pieces(source: FileSource, entry: TensorEntry, mask: memoryview | None) -> Iterator[bytes | memoryview]:
    width = DTYPE_BITS[entry.dtype] // 8
    begin = 0
    for piece in source.read(entry.begin, entry.end):
        if mask is None:
            yield piece
        else:
            yield keep_marked(piece, mask[begin // (8 * width) :], width)  # pieces are whole bytes of the mask
        begin += len(piece)
