"""The packed format: names and sizes of the tensors that a packed tensor is stored as. No data and no numpy.

A tensor is packed by its bits: an entry whose bits are all zero (+0.0) is left out, any other is kept as it is, and a
mask of one bit per entry says which. So packing is lossless for every dtype. A tensor that would grow stays dense.
docs/packed.md has the format on one page; `codec` packs and unpacks the bytes.

Source: the names for matrices are those of compressed-tensors 0.9 to 0.14, `sparse-bitmask`.
"""

import json
import reprlib
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring as quoted
from math import prod
from typing import Final, TypeAlias

from pruning_proto.names import PACKED_KEY, PACKED_ORDER_KEY, ZSTD_KEY
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.alignment import postponed
from pruning_proto.safetensors.dtypes import DTYPE_BITS
from pruning_proto.safetensors.header import Layout, LayoutError, TensorEntry, tensor_bytes
from pruning_proto.spans import spans

ENTRIES: Final = 1 << 19
"""Entries of a piece, at most: 2 MiB of fp32. A multiple of 8."""

Spec: TypeAlias = tuple[str, str, tuple[int, ...]]
"""A tensor by name, dtype and shape, as `layout.build` takes it."""

_WEIGHT: Final = ".weight"
_LINE_BYTES: Final = 80
"""What a tensor's line in the header takes, its name left out."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some entries of a tensor: whole rows, or a part of one; and the bytes of the mask that are theirs."""

    begin: int
    end: int
    rows: int
    bits_begin: int
    bits_end: int


@dataclass(frozen=True, slots=True)
class Packable:
    """A tensor that can be packed. Rows are what begins at a whole byte of the mask.

    A `*.weight` of 2 dims has its own rows, and goes by the names of compressed-tensors; any other is one long row.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def is_matrix(self) -> bool:
        """Whether the names are those of compressed-tensors."""
        return len(self.shape) == 2 and self.name.endswith(_WEIGHT)

    @property
    def width(self) -> int:
        """Bytes of one entry."""
        return DTYPE_BITS[self.dtype] // 8

    @property
    def entries(self) -> int:
        """The number of entries."""
        return prod(self.shape)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.shape[0] if self.is_matrix else 1

    @property
    def columns(self) -> int:
        """Entries of a row."""
        return self.entries // self.rows

    @property
    def bits_bytes(self) -> int:
        """Bytes of the mask: each row in whole bytes."""
        return self.rows * _whole_bytes(self.columns)

    @property
    def values_name(self) -> str:
        """The name of the tensor of nonzero entries."""
        return self._part("compressed") if self.is_matrix else f"{self.name}.values"

    @property
    def bits_name(self) -> str:
        """The name of the tensor of the mask."""
        return self._part("bitmask") if self.is_matrix else f"{self.name}.bits"

    @property
    def shape_name(self) -> str:
        """The name of the tensor of a matrix's shape."""
        return self._part("shape")

    @property
    def offsets_name(self) -> str:
        """The name of the tensor that says where in the values each row of a matrix begins."""
        return self._part("row_offsets")

    def parts(self, nnz: int) -> list[Spec]:
        """Return the tensors that it is stored as, in their order, where `nnz` of its entries are nonzero."""
        bits_shape = (self.rows, _whole_bytes(self.columns)) if self.is_matrix else (self.bits_bytes,)
        found: list[Spec] = [(self.values_name, self.dtype, (nnz,)), (self.bits_name, "U8", bits_shape)]
        if self.is_matrix:
            found = [(self.shape_name, "I64", (2,)), *found, (self.offsets_name, "I64", (self.rows,))]
        return found

    def gets_smaller(self, nnz: int) -> bool:
        """Whether it takes fewer bytes packed than as it is, its lines in the header included."""
        parts = 4 if self.is_matrix else 2
        offsets_bytes = 8 * (2 + self.rows) if self.is_matrix else 0
        lines_bytes = parts * (_LINE_BYTES + len(self.name))  # one more than it had, and its shape in the metadata
        packed_bytes = nnz * self.width + self.bits_bytes + offsets_bytes + lines_bytes
        return packed_bytes < self.entries * self.width

    def pieces(self) -> Iterator[Piece]:
        """Cut it into pieces of at most `ENTRIES`, in order."""
        columns, row_bytes = self.columns, _whole_bytes(self.columns)
        if columns > ENTRIES:
            for row in range(self.rows):
                for begin, end in spans(columns, ENTRIES):
                    yield Piece(
                        begin=row * columns + begin,
                        end=row * columns + end,
                        rows=1,
                        bits_begin=row * row_bytes + begin // 8,
                        bits_end=row * row_bytes + _whole_bytes(end),
                    )
            return
        for first, last in spans(self.rows, ENTRIES // columns):
            yield Piece(first * columns, last * columns, last - first, first * row_bytes, last * row_bytes)

    def _part(self, name: str) -> str:
        return f"{self.name.removesuffix(_WEIGHT)}.{name}"


def packable(spec: Spec) -> Packable | None:
    """Return a tensor as one that can be packed; None if it has no entry, or entries of less than a byte."""
    name, dtype, shape = spec
    return Packable(name, dtype, shape) if DTYPE_BITS[dtype] % 8 == 0 and all(shape) else None


def check_not_packed(metadata: Mapping[str, str]) -> None:
    """Refuse a packed file where its own tensors are wanted. Raises: LayoutError."""
    for key in (PACKED_KEY, ZSTD_KEY):
        if key in metadata:
            raise LayoutError(
                Reason.PACKED_INPUT,
                f"the file is packed (its metadata has the key {key!r}); unpack it first, with `prune unpack`",
            )


def check_names(tensors: Iterable[Spec]) -> None:
    """Refuse tensors of which one has a name that another may be stored under, whatever is pruned.

    Raises: LayoutError.
    """
    specs = list(tensors)
    names = {name for name, _, _ in specs}
    for spec in specs:
        tensor = packable(spec)
        for part, _, _ in () if tensor is None else tensor.parts(0):
            if part in names:
                raise LayoutError(
                    Reason.NAME_COLLISION,
                    f"the packed form of {spec[0]!r} would take the name {part!r}, which a tensor of the file has; "
                    "rename one of them",
                    part,
                )


@dataclass(frozen=True, slots=True)
class Content:
    """A tensor of the dense file as a packed file stores it: `packed` and its parts, or as it is."""

    packed: Packable | None
    parts: Sequence[Spec]

    @property
    def place(self) -> str:
        """The name of the part whose position is the content's: never an empty one of a packed tensor."""
        return self.parts[0][0] if self.packed is None else self.packed.bits_name


def arranged(contents: Sequence[Content]) -> tuple[list[Spec], list[int]]:
    """Return the parts in an order in which each is aligned, and where the contents, in this order, are in `contents`.

    Only parts of odd sizes leave the dense order, and come last.
    """
    specs = [spec for content in contents for spec in content.parts]
    sizes = [tensor_bytes(dtype, shape) for _, dtype, shape in specs]
    last = postponed([(dtype, size) for (_, dtype, _), size in zip(specs, sizes, strict=True)])
    held = set(last)
    order = [*(at for at in range(len(specs)) if at not in held), *last]
    places = {content.place: number for number, content in enumerate(contents)}
    found, begin = [], 0
    for at in order:
        name, end = specs[at][0], begin + sizes[at]
        if name in places:
            found.append((begin, end, name))
        begin = end
    return [specs[at] for at in order], [places[name] for _, _, name in sorted(found)]


def with_shapes(metadata: Mapping[str, str], packed: Iterable[Packable], order: Sequence[int] = ()) -> dict[str, str]:
    """Return the metadata of a packed file: that of the dense one, then the shapes of the packed tensors, in order.

    `order` is the second value of `arranged`; it is stored if it is not the dense order.
    """
    moved = {} if list(order) == sorted(order) else {PACKED_ORDER_KEY: json.dumps([*order], separators=(",", ":"))}
    shapes = ",".join(f"{quoted(tensor.name)}:[{','.join(map(str, tensor.shape))}]" for tensor in packed)
    return {**metadata, PACKED_KEY: f"{{{shapes}}}", **moved}


@dataclass(frozen=True, slots=True)
class Stored:
    """A packed tensor in a file. Only matrices have `shape` and `offsets`."""

    tensor: Packable
    values: TensorEntry
    bits: TensorEntry
    shape: TensorEntry | None
    offsets: TensorEntry | None

    @property
    def nnz(self) -> int:
        """The number of nonzero entries."""
        return self.values.shape[0]


def contents(layout: Layout) -> list[Stored | TensorEntry]:
    """Return the content of a packed file, in the order of the dense one: packed tensors, and those that stayed dense.

    Raises: LayoutError if it is not a packed file, or its parts do not fit each other.
    """
    entries = {entry.name: entry for entry in layout.tensors}
    # A mask is never empty, so that of two tensors at one offset its place is certain: `Content.place`.
    stored = {one.bits.name: one for one in (_stored(*item, entries) for item in _shapes(layout.metadata))}
    parts = {part.name for one in stored.values() for part in (one.values, one.shape, one.offsets) if part is not None}
    found = [stored.get(entry.name, entry) for entry in layout.tensors if entry.name not in parts]
    order = _order(layout.metadata, len(found))
    return found if order is None else [content for _, content in sorted(zip(order, found, strict=True), key=_first)]


def _order(metadata: Mapping[str, str], count: int) -> list[int] | None:
    """Return where each content is in the dense file; None if they are in its order."""
    if PACKED_ORDER_KEY not in metadata:
        return None
    try:
        order = json.loads(metadata[PACKED_ORDER_KEY])
    except (ValueError, RecursionError):
        order = None
    if not isinstance(order, list) or not all(type(at) is int for at in order) or sorted(order) != [*range(count)]:
        raise _invalid(f"its metadata must list each of 0 to {count - 1} once under {PACKED_ORDER_KEY!r}")
    return order


def _first(pair: tuple[int, object]) -> int:
    return pair[0]


def shape_bytes(tensor: Packable) -> bytes:
    """Return the bytes of the shape that is stored beside a matrix."""
    return struct.pack(f"<{len(tensor.shape)}q", *tensor.shape)


def without_shapes(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata of the dense file."""
    return {key: value for key, value in metadata.items() if key not in {PACKED_KEY, PACKED_ORDER_KEY}}


def spec_of(content: Stored | TensorEntry) -> Spec:
    """Return name, dtype and shape of a tensor before packing."""
    tensor = content.tensor if isinstance(content, Stored) else content
    return tensor.name, tensor.dtype, tensor.shape


def _shapes(metadata: Mapping[str, str]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Return names and shapes of the packed tensors."""
    if PACKED_KEY not in metadata:
        raise _invalid(f"its metadata has no key {PACKED_KEY!r}; was it written by `prune pack`?")
    try:
        found = json.loads(metadata[PACKED_KEY])
    except (ValueError, RecursionError) as error:
        raise _invalid(f"what its metadata has under {PACKED_KEY!r} is not JSON") from error
    if not isinstance(found, dict):
        raise _invalid(f"its metadata must have an object under {PACKED_KEY!r}")
    for name, shape in found.items():
        if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
            raise _invalid(f"the shape of {name!r} must be positive integers, got {reprlib.repr(shape)}", name)
        try:
            tensor_bytes("U8", tuple(shape))  # before its product is computed, which has any number of digits
        except LayoutError as error:
            raise _invalid(f"tensor {name!r}: {error}", name) from error
        yield name, tuple(shape)


def _stored(name: str, shape: tuple[int, ...], entries: Mapping[str, TensorEntry]) -> Stored:
    # The names of the parts do not depend on the dtype, which only they have.
    values_name = Packable(name, "U8", shape).values_name
    values = entries.get(values_name)
    if values is None:
        raise _invalid(f"{name!r} is said to be packed, but {values_name!r} is missing", name)
    if name in entries:
        raise _invalid(f"{name!r} is there twice, packed and as it is", name)
    tensor = packable((name, values.dtype, shape))
    if tensor is None or len(values.shape) != 1:
        raise _invalid(
            f"{values_name!r} must be of 1 dim and whole bytes an entry, it is {values.dtype} of shape "
            f"{list(values.shape)}",
            name,
        )
    nnz = values.shape[0]
    parts = {}
    for part, dtype, part_shape in tensor.parts(nnz):
        entry = entries.get(part)
        if entry is None:
            raise _invalid(f"{name!r} is said to be packed, but {part!r} is missing", name)
        if (entry.dtype, entry.shape) != (dtype, part_shape):
            raise _invalid(
                f"{part!r} must be {dtype} of shape {list(part_shape)} for {name!r} of shape {list(shape)}, "
                f"it is {entry.dtype} of shape {list(entry.shape)}",
                name,
            )
        parts[part] = entry
    if nnz > tensor.entries:
        raise _invalid(f"{name!r} of {tensor.entries:,} entries cannot have {nnz:,} of them", name)
    shape_part, offsets = (tensor.shape_name, tensor.offsets_name) if tensor.is_matrix else (None, None)
    return Stored(
        tensor=tensor,
        values=values,
        bits=parts[tensor.bits_name],
        shape=None if shape_part is None else parts[shape_part],
        offsets=None if offsets is None else parts[offsets],
    )


def _invalid(wrong: str, tensor: str | None = None) -> LayoutError:
    return LayoutError(Reason.INVALID_PACKED, f"this is not a valid packed file: {wrong}", tensor)


def _whole_bytes(bits: int) -> int:
    return (bits + 7) // 8
