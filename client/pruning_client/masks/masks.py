"""Masks applied on the caller's side: 11 MB come back for a model of 340 MB, and the caller's own tensors are pruned.

A mask is one bit an entry, as form MASK gives it and as `w:mask_bits` in a file. Applied, it leaves the bytes that
form PRUNED would have given: +0.0 where an entry falls, all else as it was. The rule: everything that can be refused
is refused before the first entry is changed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

    `names` are those it goes by, more than one where it was tied. `shape` is None where only the mask is known: a file
    does not tell it. `size` counts the bytes that `read` gives.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...] | None
    size: int
    read: Callable[[], memoryview]


class Masks:
    """The masks of some parameters, from a result of form "mask" or from a file that `load_masks` reads."""

    def __init__(self, masks: Sequence[Mask]) -> None:
        self._masks = tuple(masks)

    def __repr__(self) -> str:
        return f"<Masks of {len(self._masks)} parameters>"

    def apply_to(self, target: Target) -> Target:
        """Prune the tensors of a state dict or a torch module in place; give the same object back.

        Parameters are found by name; those without a mask stay as they are. Tensors may have any device, strides and
        dtype, also another than the one that was pruned, and may be tied. In torch's pruned form (`w_orig`, `w_mask`)
        the mask is multiplied into `w_mask`. No second model is made: what is made on the way takes a few MB.

        Raises: MismatchError, and nothing is changed, if a parameter is not there, has another shape, has two masks, or
        cannot be changed entry by entry. TypeError if this is neither. Of masks in a file: OSError or CheckpointError,
        also half way, if the file cannot be read.
        """
        tensors = tensors_of(target)
        found = list(_found(self._masks, tensors))
        for mask, places in found:
            bits = mask.read()
            for place in places:
                place.framework.apply_mask_(place.tensor, bits)
        return target


def load_masks(path: str | PathLike[str]) -> Masks:
    """Give the masks of a file that `Client.prune_file(..., output="mask")` wrote; one at a time is in memory.

    Raises: OSError if it cannot be read. CheckpointError if it is no sound safetensors file, or holds no masks.
    """
    source = FileSource(path)
    return Masks([_from_file(source, name, entry) for name, entry in mask_entries(source.layout, source.path)])


def masks_in(
    layout: Layout, buffer: memoryview, aliases: Mapping[str, str], shapes: Mapping[str, Sequence[int]]
) -> Masks:
    """Give the masks of a result over its buffer. `aliases`: another name -> the name that is in the layout."""
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
    """Give the masks of a file by the names of their parameters.

    Raises: CheckpointError if anything else is among them: it was asked in another form.
    """
    if not layout.tensors:
        raise CheckpointError(f"{where} is empty: it holds no masks")
    for entry in layout.tensors:
        if not entry.name.endswith(MASK_BITS) or entry.dtype != "U8" or len(entry.shape) != 1:
            raise CheckpointError(
                f"{where} is not of the form that is applied: {entry.name!r} is no mask of one bit an entry; "
                'ask for masks with output="mask" (on the command line --output mask), '
                "or load what came with `load_state_dict(result.state_dict)`",
                metadata={"tensor": entry.name},
            )
        yield entry.name.removesuffix(MASK_BITS), entry


def read_whole(source: FileSource, entry: TensorEntry) -> memoryview:
    """Give the mask of one tensor. Raises: OSError. CheckpointError if the file has changed."""
    bits = bytearray()
    for piece in source.read(entry.begin, entry.end):
        bits += piece
    return memoryview(bits)


def check_fits(name: str, mask_bytes: int, mask_shape: tuple[int, ...] | None, shape: tuple[int, ...]) -> None:
    """Raise MismatchError if the mask of one tensor is put on another."""
    if mask_shape is not None and mask_shape != shape:
        wrong = f"has shape {list(shape)}; its mask was made for {list(mask_shape)}"
        raise tensor_error(Reason.SHAPE_MISMATCH, name, wrong)
    if mask_bytes != (prod(shape) + 7) // 8:
        wrong = f"has {prod(shape):,} entries; its mask has {mask_bytes:,} bytes, each for 8 of them"
        raise tensor_error(Reason.SHAPE_MISMATCH, name, wrong)


def missing_error(name: str, tensors: Mapping[str, Any]) -> MismatchError:
    """Give the error of a mask without its tensor; wrapping a model puts a prefix before every name."""
    close = (other for other in tensors if other.endswith(f".{name}") or name.endswith(f".{other}"))
    hint = next((f"; there is {other!r}, of a model wrapped otherwise" for other in close), "")
    return MismatchError(
        f"there is a mask for {name!r}, but no tensor of that name{hint}; nothing was changed",
        reason=Reason.ORPHAN_COMPANION,
        metadata={"tensor": name},
    )


def twice_error(name: str) -> PruningError:
    """Give the error of a tensor that two masks are for: `w:mask_bits` and `w_mask:mask_bits` both are for `w_mask`."""
    return tensor_error(Reason.INVALID_ALIAS, name, "two masks are put on it; give one, and nothing was changed")


@dataclass(frozen=True, slots=True)
class _Place:
    """A tensor that a mask is put on."""

    name: str
    framework: Framework
    tensor: Any


def _found(masks: Sequence[Mask], tensors: Tensors) -> Iterator[tuple[Mask, list[_Place]]]:
    taken: set[str] = set()
    for mask in masks:
        places = list(_places(mask, tensors))
        names = {place.name for place in places}
        if names & taken:
            raise twice_error(min(names & taken))
        taken |= names
        yield mask, list(_once(places))


def _places(mask: Mask, tensors: Tensors) -> Iterator[_Place]:
    present = [place for name in mask.names for place in _named(name, tensors)]
    if not present:
        raise missing_error(mask.names[0], tensors.by_name)
    for name, tensor in present:
        framework = framework_of(tensor)
        if framework is None:
            wrong = f"only torch tensors and numpy arrays can be pruned, got {type(tensor).__name__}"
            raise tensor_error(Reason.UNPRUNABLE_DTYPE, name, wrong)
        framework.check_changeable(name, tensor)
        check_fits(name, mask.size, mask.shape, tuple(tensor.shape))
        yield _Place(name, framework, tensor)


def _named(name: str, tensors: Tensors) -> Iterator[tuple[str, Any]]:
    """Give what changes with a parameter: itself; or of torch's pruned form the mask, and the product of the two."""
    if name in tensors.by_name:
        yield name, tensors.by_name[name]
    elif name + ORIG in tensors.by_name and name + MASK in tensors.by_name:
        yield name + MASK, tensors.by_name[name + MASK]
        if name in tensors.computed:
            yield name, tensors.computed[name]


def _once(places: Sequence[_Place]) -> Iterator[_Place]:
    """Leave out tensors that are tied to an earlier one."""
    seen = set()
    for place in places:
        identity = place.framework.identity(place.tensor)
        if identity is None or identity not in seen:
            seen.add(identity)
            yield place


def _from_file(source: FileSource, name: str, entry: TensorEntry) -> Mask:
    return Mask(names=(name,), shape=None, size=entry.end - entry.begin, read=lambda: read_whole(source, entry))


def _in_memory(names: tuple[str, ...], shape: Sequence[int] | None, buffer: memoryview, entry: TensorEntry) -> Mask:
    return Mask(
        names=names,
        shape=None if shape is None else tuple(shape),
        size=entry.end - entry.begin,
        read=lambda: buffer[entry.begin : entry.end],
    )
