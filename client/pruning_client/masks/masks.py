"""Masks applied to the caller's own tensors: for a model of 340 MB, 11 MB are received.

A mask has one bit per entry, as in output format MASK and as `w:mask_bits` in a file. Applying it leaves the bytes of
output format PRUNED: +0.0 where an entry is pruned, all else unchanged. The rule: everything that can be refused is
refused before the first entry is changed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from os import PathLike
from typing import Any, TypeVar

from pruning_client.checkpoints.file import FileSource
from pruning_client.errors import CheckpointError, MismatchError, PruningError, tensor_error
from pruning_client.frameworks.base import Framework, Tensors, framework_of, tensors_of
from pruning_proto.names import MASK, MASK_BITS, ORIG
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import Layout, TensorEntry

Target = TypeVar("Target")
"""A state dict (names to tensors, of torch or numpy), or a `torch.nn.Module`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """The mask of one parameter.

    `names` are the names of the parameter, more than one if it was tied. `shape` is None if it is not known: a file of
    masks does not have it. `size` counts the bytes that `read` returns.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...] | None
    size: int
    read: Callable[[], memoryview]


class Masks:
    """The masks of some parameters, from a result of output format "mask" or from a file that `load_masks` reads.

    Example:
        >>> _ = client.prune_file("model.safetensors", "masks.safetensors", rules.l1_unstructured(0.5), output="mask")
        >>> load_masks("masks.safetensors")
        <Masks of 2 parameters>
    """

    def __init__(self, masks: Sequence[Mask]) -> None:
        self._masks = tuple(masks)

    def __repr__(self) -> str:
        return f"<Masks of {len(self._masks)} parameters>"

    def apply_to(self, target: Target) -> Target:
        """Prune the tensors of a state dict or a torch module in place; return the same object.

        Parameters are found by name, those of a transformers model also by their names in its file; those without a
        mask stay as they are. Tensors may have any device, strides and dtype, also another than the one that was
        pruned, and may be tied. For torch's pairs (`w_orig`, `w_mask`) the mask is multiplied into `w_mask`. No second
        model is made: temporary tensors take a few MB.

        Raises: MismatchError, and nothing is changed, if a parameter is missing, has another shape, has two masks, or
        cannot be changed entry by entry. TypeError for other objects. For masks in a file: OSError or CheckpointError,
        also half way, if the file cannot be read.
        """
        tensors = tensors_of(target)
        renamed = tensors.renamed(name for mask in self._masks for name in mask.names)
        masks = [replace(mask, names=tuple(renamed.get(name, name) for name in mask.names)) for mask in self._masks]
        matched = list(_matched(masks, tensors))
        for mask, targets in matched:
            bits = mask.read()
            for masked in targets:
                masked.framework.apply_mask_(masked.tensor, bits)
        return target


def load_masks(path: str | PathLike[str]) -> Masks:
    """Return the masks of a file that `Client.prune_file(..., output="mask")` wrote; one at a time is in memory.

    Raises: OSError if it cannot be read. CheckpointError if it is not a valid safetensors file, or contains no masks.
    Example:
        >>> _ = client.prune_file("model.safetensors", "masks.safetensors", rules.l1_unstructured(0.5), output="mask")
        >>> pruned = load_masks("masks.safetensors").apply_to(state_dict)
    """
    source = FileSource(path)
    return Masks([_from_file(source, name, entry) for name, entry in mask_entries(source.layout, source.path)])


def masks_in(
    layout: Layout, buffer: memoryview, aliases: Mapping[str, str], shapes: Mapping[str, Sequence[int]]
) -> Masks:
    """Return the masks of a result over its buffer. `aliases`: another name -> the name that is in the layout."""
    others: dict[str, list[str]] = {}
    for alias, name in aliases.items():
        others.setdefault(name, []).append(alias)
    return Masks(
        [
            _in_memory((name, *others.get(name, ())), shapes.get(name), buffer, entry)
            for name, entry in mask_entries(layout, "the result")
        ]
    )


def mask_entries(layout: Layout, where: str) -> Iterator[tuple[str, TensorEntry]]:
    """Return the masks of a file by the names of their parameters.

    Raises: CheckpointError if it has anything else: it was written in another output format.
    """
    if not layout.tensors:
        raise CheckpointError(f"{where} is empty: it holds no masks")
    for entry in layout.tensors:
        if not entry.name.endswith(MASK_BITS) or entry.dtype != "U8" or len(entry.shape) != 1:
            raise CheckpointError(
                f"{where} is not of the form that is applied: {entry.name!r} is not a mask of one bit an entry; "
                'ask for masks with output="mask" (on the command line --output mask), '
                "or load what came with `load_state_dict(result.state_dict)`",
                metadata={"tensor": entry.name},
            )
        yield entry.name.removesuffix(MASK_BITS), entry


def read_whole(source: FileSource, entry: TensorEntry) -> memoryview:
    """Return the mask of one tensor. Raises: OSError. CheckpointError if the file has changed."""
    bits = bytearray()
    for piece in source.read(entry.begin, entry.end):
        bits += piece
    return memoryview(bits)


def check_fits(name: str, mask_bytes: int, mask_shape: tuple[int, ...] | None, shape: tuple[int, ...]) -> None:
    """Raise MismatchError if a mask does not fit the tensor that it is applied to."""
    if mask_shape is not None and mask_shape != shape:
        description = f"has shape {list(shape)}; its mask was made for {list(mask_shape)}"
        raise tensor_error(Reason.SHAPE_MISMATCH, name, description)
    if mask_bytes != (prod(shape) + 7) // 8:
        description = f"has {prod(shape):,} entries; its mask has {mask_bytes:,} bytes, each for 8 of them"
        raise tensor_error(Reason.SHAPE_MISMATCH, name, description)


def missing_error(name: str, tensors: Mapping[str, Any]) -> MismatchError:
    """Return the error of a mask without its tensor; wrapping a model puts a prefix before every name."""
    close = (other for other in tensors if other.endswith(f".{name}") or name.endswith(f".{other}"))
    hint = next((f"; there is {other!r}, of a model wrapped otherwise" for other in close), "")
    return MismatchError(
        f"there is a mask for {name!r}, but no tensor of that name{hint}; nothing was changed",
        reason=Reason.ORPHAN_COMPANION,
        metadata={"tensor": name},
    )


def twice_error(name: str) -> PruningError:
    """Return the error of a tensor with two masks: `w:mask_bits` and `w_mask:mask_bits` are both for `w_mask`."""
    return tensor_error(Reason.INVALID_ALIAS, name, "two masks are for it; give one. Nothing was changed")


@dataclass(frozen=True, slots=True)
class _Masked:
    """A tensor that a mask is applied to."""

    name: str
    framework: Framework
    tensor: Any


def _matched(masks: Sequence[Mask], tensors: Tensors) -> Iterator[tuple[Mask, list[_Masked]]]:
    """Return each mask with the tensors that it is applied to. Raises: PruningError."""
    taken: set[str] = set()
    for mask in masks:
        targets = list(_targets(mask, tensors))
        names = {masked.name for masked in targets}
        if names & taken:
            raise twice_error(min(names & taken))
        taken |= names
        yield mask, list(_once(targets))


def _targets(mask: Mask, tensors: Tensors) -> Iterator[_Masked]:
    present = [target for name in mask.names for target in _named(name, tensors)]
    if not present:
        raise missing_error(mask.names[0], tensors.by_name)
    for name, tensor in present:
        framework = framework_of(tensor)
        if framework is None:
            description = f"only torch tensors and numpy arrays can be pruned, got {type(tensor).__name__}"
            raise tensor_error(Reason.UNPRUNABLE_DTYPE, name, description)
        framework.check_changeable(name, tensor)
        check_fits(name, mask.size, mask.shape, tuple(tensor.shape))
        yield _Masked(name, framework, tensor)


def _named(name: str, tensors: Tensors) -> Iterator[tuple[str, Any]]:
    """Return what changes with a parameter: itself; or for torch's pairs the mask, and the product of the two."""
    if name in tensors.by_name:
        yield name, tensors.by_name[name]
    elif name + ORIG in tensors.by_name and name + MASK in tensors.by_name:
        yield name + MASK, tensors.by_name[name + MASK]
        if name in tensors.computed:
            yield name, tensors.computed[name]


def _once(targets: Sequence[_Masked]) -> Iterator[_Masked]:
    """Leave out tensors that are tied to an earlier one."""
    seen = set()
    for masked in targets:
        identity = masked.framework.identity(masked.tensor)
        if identity is None or identity not in seen:
            seen.add(identity)
            yield masked


def _from_file(source: FileSource, name: str, entry: TensorEntry) -> Mask:
    return Mask(names=(name,), shape=None, size=entry.end - entry.begin, read=lambda: read_whole(source, entry))


def _in_memory(names: tuple[str, ...], shape: Sequence[int] | None, buffer: memoryview, entry: TensorEntry) -> Mask:
    return Mask(
        names=names,
        shape=None if shape is None else tuple(shape),
        size=entry.end - entry.begin,
        read=lambda: buffer[entry.begin : entry.end],
    )
